//! The table of options as a whole.

use super::*;

#[test]
fn names_are_unique_and_help_is_a_sentence() {
    for (at, opt) in OPTIONS.iter().enumerate() {
        assert!(OPTIONS[..at].iter().all(|other| other.name != opt.name), "{} stands twice", opt.name);
        assert!(opt.help.ends_with('.'), "{}", opt.name);
    }
}

#[test]
fn every_default_is_within_its_bounds_and_reads_back() {
    let default = Config::default();
    for opt in OPTIONS {
        let mut config = default.clone();
        let shown = opt.show(&default);
        assert_eq!(opt.apply(&mut config, opt.name, &shown), Ok(()), "{}", opt.name);
        assert_eq!(opt.show(&config), shown, "{}", opt.name);
    }
}

#[test]
fn both_bounds_are_taken_and_kept_whole_and_beyond_is_refused() {
    for opt in OPTIONS {
        let (number, unit) = match opt.kind {
            OptionKind::Duration(number) => (number, "ms"),
            OptionKind::Size(number) => (number, "B"),
            OptionKind::Count(number) => (number, ""),
            OptionKind::File { .. }
            | OptionKind::List { .. }
            | OptionKind::Choice { .. }
            | OptionKind::Switch { .. }
            | OptionKind::Listen
            | OptionKind::Store
            | OptionKind::Bus
            | OptionKind::Log
            | OptionKind::Config => continue,
        };
        let mut config = Config::default();
        for value in [number.min, number.max] {
            assert_eq!(opt.apply(&mut config, opt.name, &format!("{value}{unit}")), Ok(()), "{}", opt.name);
            assert_eq!((number.get)(&config), value, "{}", opt.name);
        }
        let above = format!("{}{unit}", number.max + 1);
        let why = opt.apply(&mut config, "--x", &above).unwrap_err();
        assert!(why.contains("--x") && why.contains(&above) && why.contains(&opt.range()), "{why}");
        let long = opt.apply(&mut config, opt.name, &"9".repeat(500_000)).unwrap_err();
        assert!(long.len() < 500, "{}", opt.name);
        if number.min > 0 {
            assert!(opt.apply(&mut config, opt.name, &format!("{}{unit}", number.min - 1)).is_err(), "{}", opt.name);
        }
    }
}

#[test]
fn the_core_stops_waiting_before_the_server_does() {
    let mut config = Config::default();
    assert!(config.rules.stop_wait_ms < config.stop_wait_ms);
    find("stop-wait").unwrap().apply(&mut config, "", "1s").unwrap();
    assert_eq!((config.stop_wait_ms, config.rules.stop_wait_ms), (1_000, 800));
}
