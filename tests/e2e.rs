//! Messages that the server cannot read (docs/e2e.md): the test vectors in docs/e2e_vectors.json
//! and those that the page wrote, all that is refused, and a conversation through a real server.
//!
//! `UPDATE_DOCS=1 cargo test --features client --test e2e vectors` makes new vectors.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::PATIENCE;
use hongyan::client::e2e::{
    E2eClient, E2eDecryptOutcome, E2eEncryptionError, E2eKeyPairs, E2eMessageContext, E2ePublicKeys, E2eSendError,
    FriendKeysCheckResult, PinnedKeys, is_encrypted, safety_number,
};
use hongyan::client::{Client, ClientEvent, ClientOptions, ProfileChange, Push, PushKind, UserProfile, sign_up};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::OnceLock;

const LETTER: E2eMessageContext<'static> = E2eMessageContext { sender: "ann", receiver: "bob", message_id: "m1" };

const OURS: &str = "docs/e2e_vectors.json";
/// `tests/page/vectors.test.mjs` writes these, and reads ours.
const OF_THE_PAGE: &str = "docs/e2e_vectors_page.json";

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path(file)).unwrap()).unwrap()
}

fn vectors() -> &'static Value {
    static VECTORS: OnceLock<Value> = OnceLock::new();
    VECTORS.get_or_init(|| read(OURS))
}

fn keys_of(kept: &Value) -> E2eKeyPairs {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, kept.to_string()).unwrap();
    E2eKeyPairs::load(file).unwrap()
}

/// The two users of some vectors.
fn pair_of(vectors: &Value) -> (E2eKeyPairs, E2eKeyPairs) {
    (keys_of(&vectors["ann"]["keys"]), keys_of(&vectors["bob"]["keys"]))
}

fn pair() -> (E2eKeyPairs, E2eKeyPairs) {
    pair_of(vectors())
}

fn write_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let user = |name: &str| {
        let keys = E2eKeyPairs::generate(name).unwrap();
        keys.save(folder.path().join(name)).unwrap();
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(folder.path().join(name)).unwrap()).unwrap();
        let public = keys.public();
        let described = json!({
            "keys": kept, "rsaPublicKey": public.text(),
            "encryptKid": public.encrypt_kid(), "signKid": public.sign_kid(),
        });
        (keys, described)
    };
    let ((ann, ann_said), (bob, bob_said)) = (user("ann"), user("bob"));
    let text = "Only you can read this. 只有你能读。🪿";
    let content = ann.seal(bob.public(), LETTER, text).unwrap();
    let empty =
        bob.seal(ann.public(), E2eMessageContext { sender: "bob", receiver: "ann", message_id: "m2" }, "").unwrap();
    let said: Value = serde_json::from_str(&content).unwrap();
    let aad: String = ["hongyan-e2e1", "ann", "bob", "m1"]
        .into_iter()
        .chain(["from", "to", "self"].map(|key| said[key].as_str().unwrap()))
        .map(|text| format!("{}:{text},", text.len()))
        .collect();
    let vectors = json!({
        "about": "Test vectors of docs/e2e.md. Private keys are PKCS#8 in base64url. Keys for tests only.",
        "ann": ann_said,
        "bob": bob_said,
        "safetyNumber": safety_number(("ann", ann.public()), ("bob", bob.public())),
        "messages": [
            {"sender": "ann", "receiver": "bob", "messageId": "m1", "text": text, "aad": aad, "content": content},
            {"sender": "bob", "receiver": "ann", "messageId": "m2", "text": "", "content": empty},
        ],
        "export": {"passphrase": "cafe\u{301} 🪿", "samePassphrase": "caf\u{e9} 🪿", "file": ann.export("cafe\u{301} 🪿").unwrap()},
    });
    std::fs::write(path(OURS), serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
}

#[test]
fn the_vectors_match_the_page() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        write_vectors();
    }
    check(vectors());
    for said in ["ann", "bob"].map(|name| &vectors()[name]["rsaPublicKey"]) {
        let text = said.as_str().unwrap();
        assert_eq!(E2ePublicKeys::read(text).unwrap().text(), text);
    }
}

#[test]
fn all_that_the_page_wrote_is_read() {
    check(&read(OF_THE_PAGE));
}

fn check(vectors: &Value) {
    let (ann, bob) = pair_of(vectors);
    for (keys, said) in [(&ann, &vectors["ann"]), (&bob, &vectors["bob"])] {
        let public = E2ePublicKeys::read(said["rsaPublicKey"].as_str().unwrap()).unwrap();
        assert_eq!(&public, keys.public());
        assert_eq!(public.encrypt_kid(), said["encryptKid"]);
        assert_eq!(public.sign_kid(), said["signKid"]);
    }
    let number = safety_number(("bob", bob.public()), ("ann", ann.public()));
    assert_eq!(number, vectors["safetyNumber"], "the same from both sides");
    assert_eq!((number.len(), number.split(' ').count()), (71, 12));
    for message in vectors["messages"].as_array().unwrap() {
        let text = |key: &str| message[key].as_str().unwrap();
        let letter =
            E2eMessageContext { sender: text("sender"), receiver: text("receiver"), message_id: text("messageId") };
        let from = if letter.sender == "ann" { &ann } else { &bob };
        for reader in [&ann, &bob] {
            assert_eq!(
                reader.open(from.public(), letter, text("content")).as_deref(),
                Ok(text("text")),
                "own ones, too"
            );
        }
    }
    let export = &vectors["export"];
    for passphrase in ["passphrase", "samePassphrase"] {
        let keys = E2eKeyPairs::import(export["file"].as_str().unwrap(), export[passphrase].as_str().unwrap()).unwrap();
        assert_eq!((keys.user(), keys.public()), ("ann", ann.public()));
    }
}

#[test]
fn every_change_on_the_way_is_noticed() {
    let (ann, bob) = pair();
    let content = ann.seal(bob.public(), LETTER, "meet me at noon").unwrap();
    assert_eq!(bob.open(ann.public(), LETTER, &content).unwrap(), "meet me at noon");
    let whole: Value = serde_json::from_str(&content).unwrap();
    for member in ["from", "to", "self", "key", "own", "iv", "text", "sig"] {
        let mut changed = whole.clone();
        let text = changed[member].as_str().unwrap().to_owned();
        let other = if text.starts_with('A') { 'B' } else { 'A' };
        changed[member] = format!("{other}{}", &text[1..]).into();
        let fault = bob.open(ann.public(), LETTER, &changed.to_string()).unwrap_err();
        let expected = match member {
            "from" => E2eEncryptionError::OtherKey,
            "to" => E2eEncryptionError::NotForUs,
            _ => E2eEncryptionError::Forged,
        };
        assert_eq!(fault, expected, "{member}");
        let mut missing = whole.clone();
        missing.as_object_mut().unwrap().remove(member);
        assert_eq!(
            bob.open(ann.public(), LETTER, &missing.to_string()),
            Err(E2eEncryptionError::Broken),
            "without {member}"
        );
        missing[member] = "not base64!".into();
        assert!(bob.open(ann.public(), LETTER, &missing.to_string()).is_err());
    }
    // The server may not pass it off as another message, or as somebody else's.
    let other_id = E2eMessageContext { message_id: "m2", ..LETTER };
    assert_eq!(bob.open(ann.public(), other_id, &content), Err(E2eEncryptionError::Forged));
    let other_sender = E2eMessageContext { sender: "eve", ..LETTER };
    assert_eq!(bob.open(ann.public(), other_sender, &content), Err(E2eEncryptionError::Forged));
    let other_receiver = E2eMessageContext { receiver: "cy", ..LETTER };
    assert_eq!(bob.open(ann.public(), other_receiver, &content), Err(E2eEncryptionError::NotForUs));
    // Nor may a friend pass on what another friend wrote, as their own.
    assert_eq!(bob.open(bob.public(), LETTER, &content), Err(E2eEncryptionError::OtherKey));
}

#[test]
fn a_text_that_is_no_encrypted_message_is_plain_text() {
    for plain in ["", "hello", "{", "{}", "[1]", "{\"hongyan\":1}", "{\"hongyan\":\"e2e2\"}", "\"e2e1\""] {
        assert!(!is_encrypted(plain), "{plain}");
    }
    assert!(is_encrypted(" {\"hongyan\":\"e2e1\"}"), "damaged, and not to be shown as plain text");
}

#[test]
fn only_keys_of_the_format_are_keys() {
    let (ann, _) = pair();
    let good: Value = serde_json::from_str(&ann.public().text()).unwrap();
    let read = |value: &Value| E2ePublicKeys::read(&value.to_string());
    let with = |place: &str, to: Value| {
        let mut value = good.clone();
        *value.pointer_mut(place).unwrap() = to;
        value
    };
    let mut more = good.clone();
    more["new"] = 1.into();
    more["sign"]["ext"] = true.into();
    assert_eq!(read(&more).as_ref(), Ok(ann.public()), "members that are not known are passed over");
    let modulus = |bytes: &[u8]| {
        use base64::Engine;
        Value::from(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
    };
    let (small, mut large, mut fits) = (vec![0xff; 255], vec![0xff; 513], vec![0xff; 512]);
    for (place, bad) in [
        ("/hongyan", 2.into()),
        ("/encrypt/kty", "EC".into()),
        ("/encrypt/e", "Aw".into()),
        ("/encrypt/alg", "RSA-OAEP".into()),
        ("/encrypt/use", "sig".into()),
        ("/sign/alg", "RS256".into()),
        ("/sign/n", modulus(&small)),
        ("/sign/n", modulus(&large)),
        ("/sign/n", "".into()),
        ("/sign/n", "AQ==".into()),
        ("/sign", Value::Null),
    ] {
        assert_eq!(read(&with(place, bad.clone())), Err(E2eEncryptionError::Broken), "{place} {bad}");
    }
    assert!(read(&with("/sign/n", modulus(&fits))).is_ok());
    fits[511] = 0xfe;
    assert!(read(&with("/sign/n", modulus(&fits))).is_err(), "even");
    large[0] = 0;
    assert!(read(&with("/sign/n", modulus(&large))).is_err(), "a zero in front");
    for none in ["", "24sdfqwrwer", "null", "[]", &" ".repeat(9_000)] {
        assert_eq!(E2ePublicKeys::read(none), Err(E2eEncryptionError::Broken));
    }
    // A number that is no product of two primes is as good as any: users who publish it harm
    // themselves. It panics nowhere.
    let odd = read(&with("/encrypt/n", modulus(&[&[0xff; 300][..], &[1]].concat()))).unwrap();
    drop(ann.seal(&odd, LETTER, "x"));
}

#[test]
fn an_export_needs_its_passphrase_and_its_rounds() {
    let export = &vectors()["export"];
    let file: Value = serde_json::from_str(export["file"].as_str().unwrap()).unwrap();
    let passphrase = export["passphrase"].as_str().unwrap();
    assert_eq!(E2eKeyPairs::import(&file.to_string(), "wrong").unwrap_err(), E2eEncryptionError::WrongPassphrase);
    let mut other = file.clone();
    other["user"] = "bob".into();
    assert_eq!(E2eKeyPairs::import(&other.to_string(), passphrase).unwrap_err(), E2eEncryptionError::WrongPassphrase);
    for rounds in [json!(599_999), json!(10_000_001), json!(u64::MAX), json!(-1), json!("600000"), Value::Null] {
        let mut other = file.clone();
        other["rounds"] = rounds;
        assert_eq!(E2eKeyPairs::import(&other.to_string(), passphrase).unwrap_err(), E2eEncryptionError::Broken);
    }
    for member in ["hongyan", "user", "salt", "rounds", "iv", "data"] {
        let mut other = file.clone();
        other.as_object_mut().unwrap().remove(member);
        assert_eq!(
            E2eKeyPairs::import(&other.to_string(), passphrase).unwrap_err(),
            E2eEncryptionError::Broken,
            "{member}"
        );
    }
}

#[test]
fn pins_hold_until_the_user_agrees() {
    let (ann, bob) = pair();
    let (anns, bobs) = (ann.public().text(), bob.public().text());
    let mut pins = PinnedKeys::default();
    assert_eq!(pins.check_keys("friend", ""), FriendKeysCheckResult::NoKeys);
    assert_eq!(pins.check_keys("friend", &anns), FriendKeysCheckResult::Known(ann.public().clone()));
    assert_eq!(pins.check_keys("friend", &bobs), FriendKeysCheckResult::Changed(Some(bob.public().clone())));
    assert_eq!(pins.check_keys("friend", "{}"), FriendKeysCheckResult::Changed(None));
    assert_eq!(pins.keys_of("friend"), Some(ann.public()), "nothing changes by itself");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pins");
    assert_eq!(PinnedKeys::load(&file).unwrap(), PinnedKeys::default());
    pins.save(&file).unwrap();
    assert_eq!(PinnedKeys::load(&file).unwrap(), pins);
    std::fs::write(&file, "{").unwrap();
    assert!(PinnedKeys::load(&file).is_err(), "a damaged file is not an empty one");
    pins.accept_keys("friend", &bobs);
    assert_eq!(pins.check_keys("friend", &bobs), FriendKeysCheckResult::Known(bob.public().clone()));
    pins.accept_keys("friend", "");
    assert_eq!(pins.check_keys("friend", ""), FriendKeysCheckResult::NoKeys);
}

#[test]
fn keys_are_kept_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let made = E2eKeyPairs::load_or_generate(&file, "cy").unwrap();
    let found = E2eKeyPairs::load_or_generate(&file, "cy").unwrap();
    assert_eq!(made.public(), found.public());
    assert!(E2eKeyPairs::load_or_generate(&file, "dan").is_err());
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777, 0o600);
    std::fs::write(&file, "{}").unwrap();
    assert!(E2eKeyPairs::load_or_generate(&file, "cy").is_err(), "a damaged file is not overwritten");
}

fn client(url: &str, keys: &E2eKeyPairs) -> Client {
    let options = || ClientOptions::new(url, keys.user()).password_hash("secret");
    // The keys stand in the profile from the sign-up on.
    let profile = UserProfile { rsa_public_key: keys.public().text(), ..UserProfile::default() };
    sign_up(&options(), &profile).unwrap();
    Client::connect(options()).unwrap()
}

#[track_caller]
fn push(client: &Client) -> Push {
    loop {
        match client.next(PATIENCE).unwrap() {
            Some(ClientEvent::Push(push)) => return push.into_push(),
            Some(_) => {}
            None => panic!("no push"),
        }
    }
}

#[test]
fn a_conversation_that_the_server_cannot_read() {
    let server = common::Server::start();
    let url = format!("tcp://{}", server.addr);
    let (ann, bob) = pair();
    let (ann_client, bob_client) = (client(&url, &ann), client(&url, &bob));
    ann_client.ask_friend("bob", "").unwrap();
    bob_client.accept(&push(&bob_client), "").unwrap();
    assert_eq!(push(&ann_client).kind, PushKind::FriendAccept);
    let ann = E2eClient::new(ann_client.clone(), ann, PinnedKeys::default()).unwrap();
    let bob = E2eClient::new(bob_client.clone(), bob, PinnedKeys::default()).unwrap();
    assert!(ann.send("bob", "secret 🪿").unwrap().encrypted);
    let got = push(&bob_client);
    assert!(!got.content.contains("secret"));
    assert_eq!(bob.read(&got), E2eDecryptOutcome::Encrypted("secret 🪿".to_owned()));
    assert_eq!(ann.safety_number("bob"), bob.safety_number("ann"));
    assert!(ann.safety_number("bob").is_some());
    // Plain text is told apart.
    ann_client.send("bob", "not secret").unwrap();
    assert_eq!(bob.read(&push(&bob_client)), E2eDecryptOutcome::Plain { sender_has_keys: true });
    // Other keys than the pinned ones: nothing is sent, nothing is shown as genuine.
    let (_, other) = pair();
    bob.pins().accept_keys("ann", &other.public().text());
    let refused = bob.send("ann", "x").unwrap_err();
    assert!(refused.to_string().contains("changed"), "{refused}");
    ann.send("bob", "again").unwrap();
    assert_eq!(bob.read(&push(&bob_client)), E2eDecryptOutcome::Bad(E2eEncryptionError::OtherKey));
    let FriendKeysCheckResult::Changed(Some(shown)) = bob.check_keys("ann").unwrap() else {
        panic!("other keys are pinned")
    };
    assert_eq!(bob.accept_keys("ann", None), Err(E2eSendError::Keys(E2eEncryptionError::KeysChanged)));
    // The keys change once more, after the user has seen some.
    let publish = |text: String| {
        let change = ProfileChange { rsa_public_key: Some(text), ..ProfileChange::default() };
        ann_client.change_profile(&change).unwrap();
    };
    publish(other.public().text());
    let pinned = bob.pins().clone();
    assert_eq!(bob.accept_keys("ann", Some(&shown)), Err(E2eSendError::Keys(E2eEncryptionError::KeysChanged)));
    assert_eq!(*bob.pins(), pinned);
    publish(shown.text());
    let number = bob.safety_number_with("ann", &shown);
    bob.accept_keys("ann", Some(&shown)).unwrap();
    assert_eq!((bob.safety_number("ann"), ann.safety_number("bob")), (Some(number.clone()), Some(number)));
    assert!(bob.send("ann", "now").unwrap().encrypted);
    assert_eq!(ann.read(&push(&ann_client)), E2eDecryptOutcome::Encrypted("now".to_owned()));
    // The signer is not known yet: the message may be read later.
    ann.send("bob", "last").unwrap();
    let (got, empty) =
        (push(&bob_client), E2eClient::new(bob_client.clone(), pair().1, PinnedKeys::default()).unwrap());
    bob_client.clone().close();
    assert!(matches!(empty.read(&got), E2eDecryptOutcome::NotYet(_)));
    assert_eq!(bob.read(&got), E2eDecryptOutcome::Encrypted("last".to_owned()));
}
