//! Pages of lists (AIP-158): bounded, in a stable order, with tokens that say after whom to go on.

use prost::Message;
use tonic::Status;
use weir_core::tuning::Code;

use super::status::refusal;
use crate::problem::refused;

/// As many as are told when nobody says how many.
pub(super) const SIZE_DEFAULT: usize = 500;
/// Most of one page.
pub(super) const SIZE_MAX: usize = 1_000;
/// A page is cut before it is too large for a gRPC message, which is 4 MiB.
const BYTES_MAX: usize = 3 << 20;
/// What an item takes besides itself.
const ITEM_OVERHEAD_BYTES: usize = 8;
/// Parts a token's filter from the name after which to go on; in neither of them.
const PART: char = '\n';

/// Which page is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Items of it, at most.
    pub(super) size: usize,
    /// The last one of the page before.
    pub(super) after: Option<String>,
    filter: String,
}

impl Asked {
    /// Reads what was asked. `filter` is what else the request says: pages of another list do not follow these.
    pub(super) fn of(size: i32, token: &str, filter: &str) -> Result<Self, Status> {
        let size = match usize::try_from(size) {
            Ok(0) => SIZE_DEFAULT,
            Ok(size) => size.min(SIZE_MAX),
            Err(_) => return Err(refuse("page_size", "is out of bounds", size, "0 or more")),
        };
        let after = match token.is_empty() {
            true => None,
            false => Some(read(token, filter)?),
        };
        Ok(Self {
            size,
            after,
            filter: filter.to_owned(),
        })
    }

    /// Cuts a list to the size of a page. `items` are those after [`Self::after`], at least one more than the page has
    /// if there are more. Tells the token of the next page, which is empty if there is none.
    pub(super) fn cut<T: Message>(
        &self,
        items: &mut Vec<T>,
        name: impl Fn(&T) -> String,
    ) -> String {
        let mut bytes = 0;
        let fits = |item: &T| {
            bytes += item.encoded_len() + ITEM_OVERHEAD_BYTES;
            bytes <= BYTES_MAX
        };
        // One that is too large alone is told all the same: else nobody would come past it.
        let fitting = items
            .iter()
            .take(self.size)
            .map(fits)
            .take_while(|fits| *fits);
        let kept = fitting.count().max(1);
        if items.len() <= kept {
            return String::new();
        }
        items.truncate(kept);
        let last = items.last().map(name).unwrap_or_default();
        hex(&format!("{}{PART}{last}", self.filter))
    }
}

fn read(token: &str, filter: &str) -> Result<String, Status> {
    let text = unhex(token);
    let parts = text.as_deref().and_then(|text| text.split_once(PART));
    match parts {
        Some((of, after)) if of == filter => Ok(after.to_owned()),
        _ => Err(refuse(
            "page_token",
            "is of no list like this",
            token,
            "the next_page_token of an answer to the same request, or empty",
        )),
    }
}

fn refuse(field: &str, message: &str, value: impl std::fmt::Display, bound: &str) -> Status {
    refusal(&[refused(field, Code::Range, message, value, bound)])
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<String> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    String::from_utf8(pairs.map(byte).collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use weir_proto::control::v1::Endpoint;

    use super::*;

    /// Reads a list of this many, page by page; the sizes of the pages.
    fn pages(count: usize, size: i32, zone_bytes: usize) -> Vec<usize> {
        let list: Vec<Endpoint> = (0..count)
            .map(|at| Endpoint {
                backend_id: format!("{at:06}"),
                zone: "z".repeat(zone_bytes),
                ..Endpoint::default()
            })
            .collect();
        let (mut token, mut sizes, mut told) = (String::new(), Vec::new(), Vec::new());
        loop {
            let asked = Asked::of(size, &token, "web").unwrap();
            let is_after = |e: &&Endpoint| asked.after.as_ref().is_none_or(|a| e.backend_id > *a);
            let rest = list.iter().filter(is_after).take(asked.size + 1);
            let mut page: Vec<Endpoint> = rest.cloned().collect();
            token = asked.cut(&mut page, |endpoint| endpoint.backend_id.clone());
            sizes.push(page.len());
            told.extend(page);
            if token.is_empty() {
                assert_eq!(told, list, "each is told once, in order");
                return sizes;
            }
        }
    }

    #[test]
    fn pages_tell_all_once_and_are_bounded_in_items_and_bytes() {
        assert_eq!(pages(0, 10, 0), [0]);
        assert_eq!(pages(10, 10, 0), [10]);
        assert_eq!(pages(25, 10, 0), [10, 10, 5]);
        assert_eq!(pages(501, 0, 0), [SIZE_DEFAULT, 1]);
        assert_eq!(pages(2_001, i32::MAX, 0), [SIZE_MAX, SIZE_MAX, 1]);
        assert_eq!(pages(5, 10, 1 << 20), [2, 2, 1]);
        assert_eq!(pages(2, 10, 4 << 20), [1, 1]);
    }

    #[test]
    fn what_is_no_page_of_this_list_is_refused_by_name() {
        let token = hex("web\nbackend");
        assert!(Asked::of(1, &token, "web").is_ok());
        for (size, token, filter, told) in [
            (
                -1,
                "",
                "web",
                "page_size: `-1` is out of bounds (allowed: 0 or more)",
            ),
            (1, "xyz", "web", "page_token: `xyz` is of no list like this"),
            (1, "77", "web", "page_token: `77` is of no list like this"),
            (1, &*token, "api", "page_token: `7765620a6261636b656e64` is"),
        ] {
            let refused = Asked::of(size, token, filter).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            assert!(refused.message().starts_with(told), "{}", refused.message());
        }
    }
}
