//! Passwords: hashes of them, and the command that makes one.

use std::io::{self, BufRead, IsTerminal};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use serde::Deserialize;

/// A salted hash, Argon2 in the PHC format.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Hash(PasswordHash);

impl Hash {
    /// Hashes with a fresh salt.
    pub(crate) fn new(password: &[u8]) -> Result<Self, String> {
        Argon2::default()
            .hash_password(password)
            .map(Self)
            .map_err(|error| format!("cannot hash the password: {error}"))
    }

    /// Whether this is the password. Takes some ten milliseconds and 19 MiB, on purpose.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, &self.0).is_ok()
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match PasswordHash::new(&text) {
            Ok(hash) if hash.algorithm.as_str().starts_with("argon2") && hash.hash.is_some() => {
                Ok(Self(hash))
            }
            _ => Err("a password is written as an Argon2 hash, which `columba password` makes"),
        }
    }
}

/// Reads a password from standard input and prints its hash.
pub(crate) fn command() -> Result<(), String> {
    let input = io::stdin().lock();
    if input.is_terminal() {
        eprintln!("Type the password and the enter key; it will be seen.");
    }
    println!("{}", Hash::new(&read(input)?)?.0);
    Ok(())
}

/// The first line, without its end.
fn read(mut input: impl BufRead) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).map_err(|error| format!("cannot read the password: {error}"))?;
    let password = line.strip_suffix(b"\n").unwrap_or(&line);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    if password.is_empty() {
        return Err("there is no password on standard input".to_owned());
    }
    Ok(password.to_vec())
}

#[cfg(test)]
impl Hash {
    /// For tests that are about something else.
    pub(crate) fn cheap(password: &[u8]) -> Self {
        let params = argon2::Params::new(8, 1, 1, None).unwrap();
        Self(Argon2::from(params).hash_password(password).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password() {
        let text = Hash::new(b"secret").unwrap().0.to_string();
        assert!(text.starts_with("$argon2id$"), "{text}");
        let hash = Hash::try_from(text.clone()).unwrap();
        assert!(hash.verify(b"secret"));
        assert!(!hash.verify(b"Secret"));
        assert_ne!(Hash::new(b"secret").unwrap().0.to_string(), text, "each has a salt of its own");
    }

    #[test]
    fn what_is_no_hash_is_not_taken_for_one() {
        for text in
            ["secret", "", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ", "$pbkdf2-sha512$i=1$c2FsdA$aGFzaA"]
        {
            assert!(Hash::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_password_is_the_first_line() {
        assert_eq!(read(&b"secret\r\nmore"[..]).unwrap(), b"secret");
        assert_eq!(read(&b" a b "[..]).unwrap(), b" a b ");
        assert!(read(&b"\n"[..]).is_err());
        assert!(read(&b""[..]).is_err());
    }
}
