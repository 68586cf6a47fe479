//! The settings of one run, drawn from its seed. Often they are so small that every bound is
//! reached.

use super::random::Random;
use hongyan::chat::contract::CoreSettings;

pub fn of(random: &mut Random) -> CoreSettings {
    let small = random.chance(500);
    let mut pick = |small_max: u64, large: u64| if small { 1 + random.below(small_max) } else { large };
    let rules = CoreSettings {
        page_max: pick(4, 64) as u32,
        page_bytes_max: pick(600, 256 << 10) as usize,
        list_max: pick(6, 1_024) as u32,
        list_bytes_max: pick(2_000, 4 << 20) as usize,
        outstanding_max: pick(4, 32) as u32,
        outstanding_bytes_max: pick(1_000, 512 << 10) as usize,
        auth_jobs_max: pick(4, 512) as usize,
        auth_running_max: pick(3, 2) as usize,
        log_ins_waiting_per_user_max: if small { 1 } else { 16 },
        wrong_passwords_per_user_and_address_max: if small { 2 } else { 10 },
        wrong_passwords_per_trusted_address_max: if small { 2 } else { 20 },
        refused_tries_max: if small { 2 } else { 10 },
        jobs_max: if random.chance(100) { 1 + random.below(20) as usize } else { 65_536 },
        dedup_messages_max: if random.chance(200) { 1 + random.below(4) as u32 } else { 1_024 },
        save_after_ms: random.below(20),
        ..CoreSettings::default()
    };
    if small {
        // These are derived from values already drawn: another draw would change what each seed
        // does.
        CoreSettings { jobs_per_user_max: 1 + rules.list_max, reads_per_user_max: rules.page_max, ..rules }
    } else {
        rules
    }
}
