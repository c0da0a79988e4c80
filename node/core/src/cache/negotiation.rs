//! `Accept-Encoding` and `Accept-Language` in one form for all requests that mean the same
//! (RFC 9110 sections 12.5.3 and 12.5.4).

use http::HeaderValue;
use http::header::GetAll;

use super::directives::split;

/// Members beyond which a list is taken as it is.
const MEMBERS_MAX: usize = 32;

/// The members in lower case, ordered by preference and then by name: the order in which they were written has no
/// meaning. `None` if the list is not well-formed.
pub(super) fn normal(lines: GetAll<'_, HeaderValue>) -> Option<String> {
    let mut members = Vec::new();
    for part in lines.iter().flat_map(|line| split(line.as_bytes())) {
        if members.len() == MEMBERS_MAX {
            return None;
        }
        members.push(member(std::str::from_utf8(part).ok()?)?);
    }
    members.sort_unstable_by(|(a, a_weight), (b, b_weight)| b_weight.cmp(a_weight).then(a.cmp(b)));
    members.dedup();
    let mut out = String::new();
    for (name, weight) in members {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&name);
        if weight < 1_000 {
            out.push_str(&format!(";q={weight}"));
        }
    }
    Some(out)
}

/// A name and its weight in thousandths.
fn member(part: &str) -> Option<(String, u16)> {
    let (name, weight) = match part.split_once(';') {
        Some((name, parameter)) => (name.trim_ascii(), weight(parameter.trim_ascii())?),
        None => (part, 1_000),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*.".contains(&byte);
    let name = match name.to_ascii_lowercase() {
        // Two names for one coding (RFC 9110 section 8.4.1).
        old if old == "x-gzip" || old == "x-compress" => old[2..].to_owned(),
        name => name,
    };
    (!name.is_empty() && name.bytes().all(is_name)).then_some((name, weight))
}

/// `q=` and a weight (RFC 9110 section 12.4.2), in thousandths.
fn weight(parameter: &str) -> Option<u16> {
    let value = parameter
        .strip_prefix("q=")
        .or(parameter.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_sound = matches!(whole, "0" | "1")
        && fraction.len() <= 3
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_sound {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    let weight = thousandths + if whole == "1" { 1_000 } else { 0 };
    (weight <= 1_000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::ACCEPT_ENCODING;

    use super::*;

    fn normal_of(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        normal(headers.get_all(ACCEPT_ENCODING))
    }

    #[test]
    fn what_means_the_same_has_one_form() {
        for (lines, form) in [
            (&["gzip, deflate, br, zstd"][..], "br,deflate,gzip,zstd"),
            (&["zstd,br", "X-GZIP,deflate"], "br,deflate,gzip,zstd"),
            (&["gzip;q=0.5 , br ; q=1.0"], "br,gzip;q=500"),
            (&[" eN ,   De"], "de,en"),
            (&["de-AT;q=0.9,de"], "de,de-at;q=900"),
            (&["identity;q=0, *;q=0.001"], "*;q=1,identity;q=0"),
            (&[""], ""),
        ] {
            assert_eq!(normal_of(lines).as_deref(), Some(form), "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_left_alone() {
        for line in [
            "gzip;level=1",
            "gzip;q=1.5",
            "gzip;q=0.1234",
            "gzip;q=",
            "g zip",
            ";q=1",
            "gzip;q=2",
        ] {
            assert_eq!(normal_of(&[line]), None, "{line}");
        }
    }
}
