//! Lists of a header, read so that memory follows the bytes that came and not the length that was
//! claimed.
//!
//! serde alone reserves up to 1 MiB for a list as soon as it has read a length; a header of 20
//! bytes could ask for that. Every `Vec` field of `message` names this function; a test below holds
//! the file to it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// Reads a list that starts empty and grows with each element that is really there.
///
/// # Errors
/// Those of the deserializer; a list shorter than its claimed length is one.
pub(super) fn vec_as_it_arrives<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(Growing(PhantomData))
}

struct Growing<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Growing<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(list)
    }
}

#[allow(clippy::unwrap_used)]
#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeSeed;
    use serde::de::value::{Error, U32Deserializer};

    /// Two elements that pretend to be 2^60.
    struct Boaster(u32);

    impl<'de> SeqAccess<'de> for Boaster {
        type Error = Error;

        fn next_element_seed<S: DeserializeSeed<'de>>(
            &mut self,
            seed: S,
        ) -> Result<Option<S::Value>, Error> {
            if self.0 == 2 {
                return Ok(None);
            }
            self.0 += 1;
            seed.deserialize(U32Deserializer::new(self.0)).map(Some)
        }

        fn size_hint(&self) -> Option<usize> {
            Some(1 << 60)
        }
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        let list = Growing::<u32>(PhantomData).visit_seq(Boaster(0)).unwrap();
        assert_eq!(list, [1, 2]);
        assert!(list.capacity() < 16, "capacity {}", list.capacity());
    }

    #[test]
    fn every_list_of_a_message_grows_as_it_arrives() {
        let lines: Vec<&str> = include_str!("message.rs").lines().collect();
        let lists: Vec<usize> = (0..lines.len())
            .filter(|&at| lines[at].contains(": Vec<"))
            .collect();
        assert!(lists.len() >= 6, "the search no longer finds the fields");
        for at in lists {
            let attribute = lines[at - 1].trim();
            assert_eq!(
                attribute,
                r#"#[serde(deserialize_with = "vec_as_it_arrives")]"#,
                "line {} of message.rs",
                at + 1
            );
        }
    }
}
