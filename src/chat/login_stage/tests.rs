//! Every state with every event.

use super::CredentialTryOutcome::{NotMade, Right, Wrong};
use super::LoginStageEvent::*;
use super::UserLoadState::{Away, Here, Loading};
use super::*;
use crate::chat::tries::CredentialTryClass;

const ATTEMPT: AdmittedTry = AdmittedTry {
    conn: ConnId { slot: 1, generation: 2 },
    address_key: None,
    kind: CredentialTryClass::Untrusted,
    uses_cache: true,
    must_be_hashed: true,
    differs_from_verified: false,
};

fn password() -> Credential {
    Credential::Password(Secret::new("p"))
}

fn token() -> Credential {
    Credential::Token(Secret::new("t"))
}

fn admitted() -> LoginStage {
    LoginStage::Admitted { credential: password(), attempt: ATTEMPT }
}

fn proving_and_loading(credential: Credential) -> LoginStage {
    LoginStage::ProvingAndLoading { credential, attempt: ATTEMPT }
}

fn proving(credential: Credential) -> LoginStage {
    LoginStage::Proving { credential, attempt: ATTEMPT }
}

fn queued_as(attempt: AdmittedTry) -> LoginStage {
    LoginStage::Queued { secret: Secret::new("p"), password_hash: Some(Secret::new("h")), attempt }
}

fn queued() -> LoginStage {
    queued_as(ATTEMPT)
}

fn verifying() -> LoginStage {
    LoginStage::Verifying { secret: Secret::new("p"), password_hash: Some(Secret::new("h")), attempt: ATTEMPT }
}

fn unproven(differs_from_verified: bool) -> LoginStageEvent {
    Unproven { password_hash: Some(Secret::new("h")), differs_from_verified }
}

/// A client waits for the answer.
const WAITED: bool = true;
/// No client waits for the answer.
const GONE: bool = false;

type LoginTestCase = (LoginStage, LoginStageEvent, bool, UserLoadState, Option<CredentialTryOutcome>, NextLoginStep);

#[track_caller]
fn check(rows: Vec<LoginTestCase>) {
    for (login, event, is_awaited, whereabouts, settled, next) in rows {
        let shown = format!("{login:?}, {event:?}, awaited {is_awaited}, {whereabouts:?}");
        let step = login.on(event, LoginStageContext { is_awaited, whereabouts });
        assert_eq!((step.settled.map(|(_, settled)| settled), step.next), (settled, next), "{shown}");
    }
}

#[test]
fn a_log_in_begins_with_a_page_only_if_nobody_else_has_it() {
    check(vec![
        (admitted(), Begins, WAITED, Away, None, NextLoginStep::Enter(proving_and_loading(password()))),
        (admitted(), Begins, WAITED, Loading, None, NextLoginStep::Enter(proving(password()))),
        (admitted(), Begins, WAITED, Here, None, NextLoginStep::Enter(proving(password()))),
        (admitted(), Begins, GONE, Away, Some(NotMade), NextLoginStep::Drop),
        (admitted(), Dropped, GONE, Away, Some(NotMade), NextLoginStep::Drop),
    ]);
}

#[test]
fn a_credential_that_the_store_knows_needs_no_hash() {
    let loading = NextLoginStep::Enter(LoginStage::Loading);
    check(vec![
        (proving_and_loading(password()), Loaded, WAITED, Loading, Some(Right), NextLoginStep::Complete),
        (proving_and_loading(token()), Loaded, GONE, Loading, Some(Right), NextLoginStep::Complete),
        (proving(token()), Proven, WAITED, Here, Some(Right), NextLoginStep::Complete),
        (proving(token()), Proven, WAITED, Loading, Some(Right), NextLoginStep::Enter(LoginStage::WaitingToLoad)),
        (proving(token()), Proven, WAITED, Away, Some(Right), loading),
        (proving(token()), Proven, GONE, Here, Some(Right), NextLoginStep::Drop),
        (proving(token()), Proven, GONE, Loading, Some(Right), NextLoginStep::Drop),
        (proving(token()), Proven, GONE, Away, Some(Right), NextLoginStep::Drop),
    ]);
}

#[test]
fn a_password_that_the_store_does_not_know_is_hashed_and_a_token_is_refused() {
    let differs_from_verified = AdmittedTry { differs_from_verified: true, ..ATTEMPT };
    check(vec![
        (proving_and_loading(password()), unproven(false), WAITED, Loading, None, NextLoginStep::Enter(queued())),
        (
            proving(password()),
            unproven(true),
            WAITED,
            Here,
            None,
            NextLoginStep::Enter(queued_as(differs_from_verified)),
        ),
        (proving(password()), unproven(false), GONE, Here, None, NextLoginStep::Enter(queued())),
        (
            proving(token()),
            unproven(false),
            WAITED,
            Here,
            Some(Wrong),
            NextLoginStep::Refuse(LoginRefusalCause::BadToken),
        ),
        (
            proving_and_loading(token()),
            unproven(false),
            GONE,
            Loading,
            Some(Wrong),
            NextLoginStep::Refuse(LoginRefusalCause::BadToken),
        ),
    ]);
}

#[test]
fn a_hash_is_made_for_those_who_wait_and_decides() {
    let crowded = || NextLoginStep::Refuse(LoginRefusalCause::QueueFull);
    check(vec![
        (queued(), HashingTurn, WAITED, Away, None, NextLoginStep::Enter(verifying())),
        (queued(), HashingTurn, GONE, Away, Some(NotMade), crowded()),
        (queued(), NoPlace, WAITED, Away, Some(NotMade), crowded()),
        (queued(), Dropped, WAITED, Away, Some(NotMade), NextLoginStep::Drop),
        (
            verifying(),
            Verified(false),
            WAITED,
            Away,
            Some(Wrong),
            NextLoginStep::Refuse(LoginRefusalCause::WrongPassword),
        ),
        (
            verifying(),
            Verified(false),
            GONE,
            Here,
            Some(Wrong),
            NextLoginStep::Refuse(LoginRefusalCause::WrongPassword),
        ),
        (verifying(), Verified(true), WAITED, Away, Some(Right), NextLoginStep::Enter(LoginStage::Loading)),
        (verifying(), Verified(true), WAITED, Loading, Some(Right), NextLoginStep::Enter(LoginStage::WaitingToLoad)),
        (verifying(), Verified(true), WAITED, Here, Some(Right), NextLoginStep::Complete),
        (verifying(), Verified(true), GONE, Away, Some(Right), NextLoginStep::Drop),
    ]);
}

#[test]
fn of_each_user_one_log_in_loads_and_the_others_follow() {
    check(vec![
        (LoginStage::WaitingToLoad, LoadingTurn, WAITED, Loading, None, NextLoginStep::Enter(LoginStage::Loading)),
        (LoginStage::WaitingToLoad, LoadingTurn, WAITED, Here, None, NextLoginStep::Complete),
        (LoginStage::WaitingToLoad, LoadingTurn, GONE, Loading, None, NextLoginStep::Drop),
        (
            LoginStage::WaitingToLoad,
            NoPlace,
            WAITED,
            Loading,
            None,
            NextLoginStep::Refuse(LoginRefusalCause::TooManyAtOnce),
        ),
        (LoginStage::Loading, Loaded, WAITED, Loading, None, NextLoginStep::Complete),
        (LoginStage::Loading, Loaded, GONE, Loading, None, NextLoginStep::Complete),
    ]);
}

#[test]
fn an_account_that_is_gone_by_the_time_of_loading_is_none() {
    let refused = NextLoginStep::Refuse(LoginRefusalCause::WrongPassword);
    check(vec![(LoginStage::Loading, unproven(false), WAITED, Loading, None, refused)]);
}

#[test]
fn a_banned_user_is_told_so_once_the_credential_is_good() {
    let refused = || NextLoginStep::Refuse(LoginRefusalCause::Banned);
    check(vec![
        (proving_and_loading(password()), Banned, WAITED, Loading, Some(Right), refused()),
        (proving_and_loading(token()), Banned, WAITED, Loading, Some(Right), refused()),
        (proving(password()), Banned, WAITED, Here, Some(Right), refused()),
        (LoginStage::Loading, Banned, WAITED, Loading, None, refused()),
    ]);
    assert_eq!(fault_of(LoginRefusalCause::Banned).map(|fault| fault.0), Some(ErrorCode::Forbidden));
}

#[test]
fn a_barred_log_in_goes_the_way_of_any_other_until_its_credential_is_good() {
    let barred = Some(LoginRefusalCause::Banned);
    for (login, event, whereabouts, expected) in [
        (proving_and_loading(password()), Loaded, Loading, NextLoginStep::Refuse(LoginRefusalCause::Banned)),
        (proving(token()), Proven, Loading, NextLoginStep::Refuse(LoginRefusalCause::Banned)),
        (verifying(), Verified(true), Away, NextLoginStep::Refuse(LoginRefusalCause::Banned)),
        (verifying(), Verified(true), Here, NextLoginStep::Refuse(LoginRefusalCause::Banned)),
        (LoginStage::WaitingToLoad, LoadingTurn, Here, NextLoginStep::Refuse(LoginRefusalCause::Banned)),
        (LoginStage::Loading, Loaded, Loading, NextLoginStep::Refuse(LoginRefusalCause::Banned)),
        (proving(password()), unproven(false), Here, NextLoginStep::Enter(queued())),
        (queued(), HashingTurn, Away, NextLoginStep::Enter(verifying())),
        (verifying(), Verified(false), Away, NextLoginStep::Refuse(LoginRefusalCause::WrongPassword)),
        (proving(token()), unproven(false), Here, NextLoginStep::Refuse(LoginRefusalCause::BadToken)),
    ] {
        let shown = format!("{login:?}, {event:?}");
        let facts = LoginStageContext { is_awaited: true, whereabouts };
        let (usual, step) = (login.clone().on(event.clone(), facts), login.on(event, facts).unless(barred));
        assert_eq!((step.settled, step.next), (usual.settled, expected), "{shown}");
    }
}

#[test]
fn a_log_in_that_can_never_work_counts_as_a_wrong_try_and_is_not_retried() {
    let (never, now) = (Failed { refused: true }, Failed { refused: false });
    let row = |login: &LoginStage, event: &LoginStageEvent, settled, refusal| {
        (login.clone(), event.clone(), WAITED, Loading, settled, NextLoginStep::Refuse(refusal))
    };
    let mut rows = Vec::new();
    for login in [proving_and_loading(password()), proving(password()), proving(token())] {
        rows.push(row(&login, &never, Some(Wrong), LoginRefusalCause::Unreadable));
        rows.push(row(&login, &now, Some(NotMade), LoginRefusalCause::Unavailable));
        rows.push(row(&login, &NotSubmitted, Some(NotMade), LoginRefusalCause::Busy));
    }
    rows.push(row(&verifying(), &never, Some(Wrong), LoginRefusalCause::Unreadable));
    rows.push(row(&verifying(), &now, Some(NotMade), LoginRefusalCause::NoHashing));
    rows.push(row(&verifying(), &NotSubmitted, Some(NotMade), LoginRefusalCause::Busy));
    rows.push(row(&LoginStage::Loading, &never, None, LoginRefusalCause::Damaged));
    rows.push(row(&LoginStage::Loading, &now, None, LoginRefusalCause::Unavailable));
    rows.push(row(&LoginStage::Loading, &NotSubmitted, None, LoginRefusalCause::Busy));
    check(rows);
    assert_eq!(fault_of(LoginRefusalCause::Unreadable).map(|fault| fault.0), Some(ErrorCode::Forbidden));
    assert_eq!(
        (fault_of(LoginRefusalCause::WrongPassword), fault_of(LoginRefusalCause::BadToken)),
        (None, None),
        "`LF` alone"
    );
}

#[test]
fn a_try_is_settled_when_its_state_is_left_for_one_without() {
    let user = UserName::new("ann").unwrap();
    let rules = CoreSettings::default();
    for (login, has_try, loads, hashes, job) in [
        (admitted(), true, false, false, None),
        (proving_and_loading(password()), true, true, false, Some("LogIn")),
        (proving(password()), true, false, false, Some("Prove")),
        (queued(), true, false, false, None),
        (verifying(), true, false, true, Some("Verify")),
        (LoginStage::WaitingToLoad, false, false, false, None),
        (LoginStage::Loading, false, true, false, Some("Load")),
    ] {
        let parts = (login.attempt().is_some(), login.loads(), login.hashes());
        assert_eq!(parts, (has_try, loads, hashes), "{login:?}");
        let submitted = login.job(&user, TurnTimestamp::default(), &rules).map(|job| format!("{job:?}"));
        let name = submitted.as_ref().and_then(|job| job.split_once(' ')).map(|(name, _)| name);
        assert_eq!(name, job, "{login:?}");
    }
}

#[test]
fn a_deferred_log_in_is_due_when_all_is_answered_on_its_connection_and_gone_with_it() {
    let mut logins = LoginsInProgress::new();
    let conn = |slot| ConnId { slot, generation: 0 };
    let mut deferred = |slot| {
        let request = JobTicket { slot, generation: 0 };
        let (user, aim) = (UserName::new("ann").unwrap(), CredentialCheckPurpose::DeleteAccount);
        let id = logins.insert(LoginInProgress { request, user, aim, login: admitted(), barred: None });
        logins.defer(conn(slot), id);
        id
    };
    let (first, second) = (deferred(1), deferred(2));
    logins.all_answered(conn(3));
    assert!(logins.is_any_deferred() && !logins.is_any_due());
    logins.all_answered(conn(2));
    assert!(logins.is_any_due());
    assert_eq!(logins.take_due(), [second]);
    assert_eq!((logins.take_deferred(conn(2)), logins.take_deferred(conn(1))), (None, Some(first)));
    assert!(!logins.is_any_deferred() && !logins.is_any_due());
    assert!(logins.remove(first).is_some() && logins.get(first).is_none() && logins.remove(first).is_none());
}
