//! Parts of JSON as they were written: what a publisher sends is passed on as it is, numbers of any length included.

/// The value of a member of an object, as it was written. The text is known to be sound JSON; a name with escapes in it
/// is not found.
pub(super) fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let bytes = object.as_bytes();
    let mut at = after(bytes, 0, b'{')?;
    loop {
        at = skip_space(bytes, at);
        if *bytes.get(at)? != b'"' {
            return None;
        }
        let end = string_end(bytes, at)?;
        let key = object.get(at + 1..end - 1)?;
        at = skip_space(bytes, after(bytes, end, b':')?);
        let end = value_end(bytes, at)?;
        if key == name {
            return object.get(at..end);
        }
        at = after(bytes, end, b',')?;
    }
}

/// The only member of an object, whatever its name.
pub(super) fn only(object: &str) -> Option<&str> {
    let bytes = object.as_bytes();
    let at = skip_space(bytes, after(bytes, 0, b'{')?);
    let end = string_end(bytes, at)?;
    let at = skip_space(bytes, after(bytes, end, b':')?);
    object.get(at..value_end(bytes, at)?)
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count()
}

/// After this byte, before which there is only white space.
fn after(bytes: &[u8], at: usize, expected: u8) -> Option<usize> {
    let at = skip_space(bytes, at);
    (*bytes.get(at)? == expected).then_some(at + 1)
}

/// After the quote that ends a string.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn value_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at)?,
            b'{' | b'[' => (depth, at) = (depth + 1, at + 1),
            b'}' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => (depth, at) = (depth - 1, at + 1),
            byte if depth == 0 && (*byte == b',' || byte.is_ascii_whitespace()) => return Some(at),
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_value_comes_as_it_was_written() {
        let object = r#" { "a" : {"x": "}\"", "y": [1, {}]} , "n":12345678901234567890123.10,"s":"q,\\",
            "last": null }"#;
        for (name, expected) in [
            ("a", r#"{"x": "}\"", "y": [1, {}]}"#),
            ("n", "12345678901234567890123.10"),
            ("s", r#""q,\\""#),
            ("last", "null"),
        ] {
            assert_eq!(member(object, name), Some(expected));
        }
        assert_eq!(member(object, "x"), None);
        assert_eq!(member("{}", "x"), None);
        assert_eq!(only(r#"{"publish": {"a":[1]} }"#), Some(r#"{"a":[1]}"#));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            "[\"\\\\{}\\[\\],: ]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"{}]{1,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_around_it_a_member_is_found(
            members in proptest::collection::btree_map("[a-z]{1,4}", any_json(), 0..5),
            pretty in any::<bool>(),
        ) {
            let object = Value::Object(members.clone().into_iter().collect());
            let text = match pretty {
                true => serde_json::to_string_pretty(&object).unwrap(),
                false => object.to_string(),
            };
            for (name, value) in members {
                let found: Value = serde_json::from_str(member(&text, &name).unwrap()).unwrap();
                prop_assert_eq!(found, value);
            }
        }
    }
}
