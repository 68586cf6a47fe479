//! The fields of the protocol: checked once, and valid from then on.
//!
//! A value of one of these types is within the bounds of the protocol's section on fields, so no
//! code after the codec checks a length again. The borrowed forms ([`UserNameRef`], [`MessageId`])
//! live as long as the read buffer; [`UserName`] is the owned form, cheap to clone.

use super::escape_free::is_visible_ascii;
use crate::safe_text::is_invisible;
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

/// A user name has at most this many characters (Unicode scalar values).
pub const USER_NAME_CHARS_MAX: usize = 64;
/// A message id or request id has at most this many bytes.
pub const ID_BYTES_MAX: usize = 128;
/// The client's own password hash has at most this many bytes.
pub const HASH_VALUE_BYTES_MAX: usize = 256;
/// `emailAddress`, `nickName` and `location` have at most this many bytes each.
pub const SHORT_TEXT_BYTES_MAX: usize = 255;
/// `profilePicture` has at most this many bytes.
pub const PICTURE_BYTES_MAX: usize = 2_048;
/// `personalDescription` and `rsaPublicKey` have at most this many bytes each.
pub const LONG_TEXT_BYTES_MAX: usize = 8_192;
/// The name nobody may sign up with, however its letters are written.
pub const RESERVED_NAME: &str = "system";

/// The fault in a field, as the end of a sentence that a person understands.
pub type BadFieldExplanation = &'static str;

fn check_user_name(text: &str) -> Result<(), BadFieldExplanation> {
    if text.is_empty() {
        return Err("a user name must not be empty");
    }
    // Nearly every name is plain ASCII without spaces at the ends, which is quick to check.
    if text.len() <= USER_NAME_CHARS_MAX && is_visible_ascii(text.as_bytes()) {
        return Ok(());
    }
    // The byte length bounds the count of characters from above, so most names are never counted.
    if text.len() > USER_NAME_CHARS_MAX && text.chars().count() > USER_NAME_CHARS_MAX {
        return Err("a user name must have at most 64 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("a user name must not contain control characters");
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err("a user name must not begin or end with white space");
    }
    Ok(())
}

/// The further rules for a new name: it must not look like another name.
fn check_new_name(text: &str) -> Result<(), BadFieldExplanation> {
    // Also through upper case: some letters equal another one only as capitals (ſ, S).
    if text.to_lowercase() == RESERVED_NAME || text.to_uppercase().to_lowercase() == RESERVED_NAME {
        return Err("the name system is reserved, in any case");
    }
    if text.is_ascii() {
        return Ok(());
    }
    if !ComposingNormalizerBorrowed::new_nfc().is_normalized(text) {
        return Err("a user name must be in the Unicode form NFC");
    }
    let categories = CodePointMapData::<GeneralCategory>::new();
    text.chars().try_for_each(|char| match categories.get(char) {
        GeneralCategory::PrivateUse => Err("a user name must not contain private-use characters"),
        GeneralCategory::Unassigned => Err("a user name must not contain characters that Unicode has not assigned"),
        _ if is_invisible(char) => Err("a user name must not contain invisible or reordering characters"),
        _ => Ok(()),
    })
}

/// A user name within its bounds, borrowed where it could be. Compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserNameRef<'a>(Cow<'a, str>);

impl<'a> UserNameRef<'a> {
    /// Checks a name.
    ///
    /// # Errors
    /// The fault in it.
    pub fn new(text: impl Into<Cow<'a, str>>) -> Result<Self, BadFieldExplanation> {
        let text = text.into();
        check_user_name(&text)?;
        Ok(Self(text))
    }

    /// Checks a name for a sign-up. Existing accounts with other names can still log in.
    ///
    /// # Errors
    /// The fault in it.
    pub fn for_sign_up(text: impl Into<Cow<'a, str>>) -> Result<Self, BadFieldExplanation> {
        let name = Self::new(text)?;
        check_new_name(name.as_str())?;
        Ok(name)
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The owned form.
    #[must_use]
    pub fn to_owned(&self) -> UserName {
        UserName(Arc::from(self.0.as_ref()))
    }
}

/// An owned user name; cloning it copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Arc<str>);

impl UserName {
    /// Checks a name.
    ///
    /// # Errors
    /// The fault in it.
    pub fn new(text: &str) -> Result<Self, BadFieldExplanation> {
        check_user_name(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&UserNameRef<'_>> for UserName {
    fn from(name: &UserNameRef<'_>) -> Self {
        name.to_owned()
    }
}

impl From<&Self> for UserName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Borrow<str> for UserName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A message id or request id of 1 to 128 bytes, borrowed where it could be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageId<'a>(Cow<'a, str>);

impl<'a> MessageId<'a> {
    /// Checks an id.
    ///
    /// # Errors
    /// The fault in it.
    pub fn new(text: impl Into<Cow<'a, str>>) -> Result<Self, BadFieldExplanation> {
        let text = text.into();
        match text.len() {
            0 => Err("an id must not be empty"),
            1..=ID_BYTES_MAX => Ok(Self(text)),
            _ => Err("an id must have at most 128 bytes"),
        }
    }

    /// The id itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value that must never be shown: a client's password hash, the stored hash of it, or a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a secret. Its bounds were checked by the codec.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that hashes or stores it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The profile that others can read, in the order of the sign-up keys. All fields except the name
/// may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name, the key of the account.
    pub user_name: UserName,
    /// To 255 bytes.
    pub email_address: Box<str>,
    /// To 255 bytes.
    pub nick_name: Box<str>,
    /// To 2,048 bytes.
    pub profile_picture: Box<str>,
    /// To 255 bytes.
    pub location: Box<str>,
    /// To 8,192 bytes.
    pub personal_description: Box<str>,
    /// To 8,192 bytes: the key with which friends encrypt end to end.
    pub rsa_public_key: Box<str>,
}

impl Profile {
    /// The bytes of memory that it stands for.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let texts = [
            &self.email_address,
            &self.nick_name,
            &self.profile_picture,
            &self.location,
            &self.personal_description,
            &self.rsa_public_key,
        ];
        size_of::<Self>() + texts.map(|text| text.len()).iter().sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_have_1_to_64_characters_counted_as_characters() {
        assert!(UserName::new("").is_err());
        assert!(UserName::new(&"雁".repeat(64)).is_ok());
        assert!(UserName::new(&"雁".repeat(65)).is_err());
        assert!(UserName::new(&"a".repeat(64)).is_ok());
        assert!(UserName::new(&"a".repeat(65)).is_err());
    }

    #[test]
    fn user_names_have_no_control_characters_and_no_white_space_at_the_ends() {
        for bad in [" a", "a ", "a\u{3000}", "\u{a0}a", "a\nb", "a\u{7f}b", "a\u{85}b", "\t"] {
            assert!(UserName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a b", "鸿雁", "a\u{3000}b", "🪿"] {
            assert!(UserName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn new_names_look_like_no_other_and_old_ones_are_taken_as_ever() {
        let refused = [
            ("system", "reserved"),
            ("SyStEm", "reserved"),
            ("\u{17f}y\u{17f}tem", "reserved"),
            ("zoe\u{308}", "NFC"),
            ("A\u{30a}", "NFC"),
            ("\u{212b}", "NFC"),
            ("bob\u{200b}", "invisible"),
            ("b\u{200d}ob", "invisible"),
            ("b\u{ad}ob", "invisible"),
            ("\u{202e}bob", "invisible"),
            ("bob\u{2069}", "invisible"),
            ("bob\u{feff}", "invisible"),
            ("\u{e0061}bob", "invisible"),
            ("bob\u{3164}", "invisible"),
            ("bob\u{34f}x", "invisible"),
            ("❤\u{fe0f}", "invisible"),
            ("bob\u{e000}", "private-use"),
            ("\u{10fffd}", "private-use"),
            ("bob\u{378}", "not assigned"),
            ("bob\u{ffff}", "not assigned"),
            (" bob", "white space"),
            ("bob\u{2003}", "white space"),
        ];
        for (name, why) in refused {
            let fault = UserNameRef::for_sign_up(name).unwrap_err();
            assert!(fault.contains(why), "{name:?}: {fault}");
            assert_eq!(
                UserNameRef::new(name).is_ok(),
                why != "white space",
                "{name:?}: as ever where it is no sign-up"
            );
        }
        for name in
            ["zoë", "Å", "鸿雁", "a b", "system1", "🪿", "Ünal", "محمد", "हिन्दी", "systém", "a\u{301}\u{323}b\u{323}"]
        {
            let nfc = ComposingNormalizerBorrowed::new_nfc().normalize(name);
            assert!(UserNameRef::for_sign_up(nfc.as_ref()).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn ids_have_1_to_128_bytes() {
        assert!(MessageId::new("").is_err());
        assert!(MessageId::new("x".repeat(128)).is_ok());
        assert!(MessageId::new("x".repeat(129)).is_err());
        assert!(MessageId::new("雁".repeat(43)).is_err(), "129 bytes");
    }

    #[test]
    fn a_secret_never_prints_itself() {
        assert_eq!(format!("{:?}", Secret::new("thisisapasswordhash")), "***");
    }
}
