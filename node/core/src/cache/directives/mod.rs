//! What the origin says about caching (RFC 9111 section 5.2.2, RFC 9213).

mod list;
mod structured;

use std::fmt;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};

pub(super) use list::{Member, SECONDS_MAX, members, split};

use structured::Item;

/// Names in `no-cache="..."` and `private="..."` beyond which the directive is taken as without names.
const OMITTED_MAX: usize = 32;

/// The directives of a response. Of directives that are repeated the most restrictive counts; what cannot be read
/// counts as the most restrictive value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `max-age`, in seconds.
    pub max_age_s: Option<u32>,
    /// `s-maxage`, in seconds.
    pub s_maxage_s: Option<u32>,
    /// `stale-while-revalidate`, in seconds (RFC 5861 section 3).
    pub stale_while_revalidate_s: Option<u32>,
    /// `stale-if-error`, in seconds (RFC 5861 section 4).
    pub stale_if_error_s: Option<u32>,
    /// `no-store`.
    pub no_store: bool,
    /// `private` without names.
    pub private: bool,
    /// `no-cache` without names.
    pub no_cache: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `public`.
    pub public: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `no-transform`.
    pub no_transform: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// Fields that `no-cache` and `private` name, sorted: they are not stored.
    pub omitted: Vec<HeaderName>,
}

/// The directives that count, and where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deciding {
    /// The directives.
    pub directives: Directives,
    /// The targeted field that they are from; then `Cache-Control` and `Expires` count for nothing
    /// (RFC 9213 section 2.2).
    pub target: Option<HeaderName>,
}

impl Deciding {
    /// What counts of a response's fields for a cache that heeds these targeted fields.
    pub fn of(headers: &HeaderMap, targets: &[HeaderName]) -> Self {
        for target in targets {
            if let Some(directives) = Directives::of_target(headers, target) {
                return Self {
                    directives,
                    target: Some(target.clone()),
                };
            }
        }
        Self {
            directives: Directives::of_cache_control(headers),
            target: None,
        }
    }
}

impl Directives {
    /// What `Cache-Control` says.
    pub fn of_cache_control(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for member in members(&headers.get_all(CACHE_CONTROL)) {
            found.add(&member);
        }
        found
    }

    /// What a targeted field says; `None` if it is absent, empty or malformed: it then counts for nothing.
    pub fn of_target(headers: &HeaderMap, target: &HeaderName) -> Option<Self> {
        let lines: Vec<&[u8]> = headers
            .get_all(target)
            .iter()
            .map(|line| line.as_bytes().trim_ascii())
            .filter(|line| !line.is_empty())
            .collect();
        let text = lines.join(&b","[..]);
        let members = structured::dictionary(&text)?;
        let mut found = Self::default();
        for (name, item) in &members {
            found.add_item(name, item)?;
        }
        (!members.is_empty()).then_some(found)
    }

    fn add_item(&mut self, name: &[u8], item: &Item) -> Option<()> {
        let argument = match item {
            Item::Boolean(false) => return Some(()),
            Item::Boolean(true) => None,
            Item::Integer(number) => Some(number.max(&0).to_string().into_bytes().into()),
            Item::Text(text) => Some(text.as_slice().into()),
            Item::Other => Some((&b""[..]).into()),
        };
        let member = Member { name, argument };
        let is_wrong_type = self.seconds_of(&member).is_some() && !matches!(item, Item::Integer(_));
        (!is_wrong_type).then(|| self.add(&member))
    }

    fn seconds_of(&mut self, member: &Member<'_>) -> Option<&mut Option<u32>> {
        [
            ("max-age", &mut self.max_age_s),
            ("s-maxage", &mut self.s_maxage_s),
            ("stale-while-revalidate", &mut self.stale_while_revalidate_s),
            ("stale-if-error", &mut self.stale_if_error_s),
        ]
        .into_iter()
        .find_map(|(name, slot)| member.is(name).then_some(slot))
    }

    fn flag_of(&mut self, member: &Member<'_>) -> Option<&mut bool> {
        [
            ("no-store", &mut self.no_store),
            ("private", &mut self.private),
            ("no-cache", &mut self.no_cache),
            ("must-revalidate", &mut self.must_revalidate),
            ("proxy-revalidate", &mut self.proxy_revalidate),
            ("public", &mut self.public),
            ("must-understand", &mut self.must_understand),
            ("no-transform", &mut self.no_transform),
            ("immutable", &mut self.immutable),
        ]
        .into_iter()
        .find_map(|(name, flag)| member.is(name).then_some(flag))
    }

    fn add(&mut self, member: &Member<'_>) {
        if let Some(slot) = self.seconds_of(member) {
            let seconds = member.seconds();
            *slot = Some(slot.map_or(seconds, |before| before.min(seconds)));
            return;
        }
        let may_name_fields = member.is("private") || member.is("no-cache");
        if may_name_fields && self.omit(member) {
            return;
        }
        if let Some(flag) = self.flag_of(member) {
            *flag = true;
        }
    }

    /// Takes note of the fields that a directive names; whether it names any.
    fn omit(&mut self, member: &Member<'_>) -> bool {
        let Some(argument) = &member.argument else {
            return false;
        };
        let names: Option<Vec<HeaderName>> = split(argument)
            .map(|name| HeaderName::from_bytes(name).ok())
            .collect();
        let Some(names) = names.filter(|names| !names.is_empty()) else {
            return false;
        };
        if self.omitted.len() + names.len() > OMITTED_MAX {
            return false;
        }
        self.omitted.extend(names);
        self.omitted
            .sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        self.omitted.dedup();
        true
    }
}

impl fmt::Display for Directives {
    /// As a value of `Cache-Control` that reads back as the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (name, seconds) in [
            ("max-age", self.max_age_s),
            ("s-maxage", self.s_maxage_s),
            ("stale-while-revalidate", self.stale_while_revalidate_s),
            ("stale-if-error", self.stale_if_error_s),
        ] {
            parts.extend(seconds.map(|seconds| format!("{name}={seconds}")));
        }
        for (name, is_set) in [
            ("no-store", self.no_store),
            ("private", self.private),
            ("no-cache", self.no_cache),
            ("must-revalidate", self.must_revalidate),
            ("proxy-revalidate", self.proxy_revalidate),
            ("public", self.public),
            ("must-understand", self.must_understand),
            ("no-transform", self.no_transform),
            ("immutable", self.immutable),
        ] {
            parts.extend(is_set.then(|| name.to_owned()));
        }
        if !self.omitted.is_empty() {
            let names: Vec<&str> = self.omitted.iter().map(HeaderName::as_str).collect();
            parts.push(format!("private=\"{}\"", names.join(", ")));
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests;
