//! Certificates: when they end.

use super::finding::{Area, Finding, Severity};
use crate::calendar::{self, DAY_MS};

/// So long before its end somebody should renew it.
const DAYS_BEFORE: u64 = 30;
const DAY_S: u64 = DAY_MS / 1_000;

/// From when to when a certificate holds, in seconds since 1970, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from_unix_s: u64,
    /// The last second.
    pub to_unix_s: u64,
}

/// A file with certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What of the configuration or the command line names it.
    pub key: String,
    /// The file.
    pub path: String,
    /// Authorities, any of which may have signed; else a chain, each of which is needed.
    pub is_bundle: bool,
    /// When those in it hold; else why the file could not be used.
    pub validity: Result<Vec<Validity>, String>,
}

impl Certificate {
    /// What holds for the file as a whole; `None` when nothing is in it.
    fn decisive(&self, all: &[Validity]) -> Option<Validity> {
        let from = all.iter().map(|one| one.from_unix_s);
        let to = all.iter().map(|one| one.to_unix_s);
        let (from_unix_s, to_unix_s) = match self.is_bundle {
            true => (from.min()?, to.max()?),
            false => (from.max()?, to.min()?),
        };
        Some(Validity {
            from_unix_s,
            to_unix_s,
        })
    }
}

pub(super) fn judge(certificate: &Certificate, now_unix_s: u64) -> Finding {
    let Certificate { key, path, .. } = certificate;
    let check = format!("{key} ({path})");
    let renew = format!("renew {path} in place; the node reads it again for its next connection");
    let no_link = "connections that need it are refused";
    let all = match &certificate.validity {
        Err(why) => {
            let fix = format!("a PEM file that the node may read at {path}, or correct `{key}`");
            return Finding::ok(Area::Certificate, check, why).bad(Severity::Error, no_link, fix);
        }
        Ok(all) => all,
    };
    let Some(first) = certificate.decisive(all) else {
        let fix = format!("a PEM file with a certificate at {path}");
        let finding = Finding::ok(Area::Certificate, check, "no certificate in it");
        return finding.bad(Severity::Error, no_link, fix);
    };
    let day =
        |unix_s: u64| calendar::rfc3339(unix_s.saturating_mul(1_000).min(calendar::LAST_UNIX_MS));
    if first.from_unix_s > now_unix_s {
        let found = format!("holds from {}", day(first.from_unix_s));
        let fix = "correct the clock, or `date -u` and wait".to_owned();
        return Finding::ok(Area::Certificate, check, found).bad(Severity::Error, no_link, fix);
    }
    let end = day(first.to_unix_s);
    match first.to_unix_s.checked_sub(now_unix_s) {
        None => Finding::ok(Area::Certificate, check, format!("ended {end}")).bad(
            Severity::Error,
            no_link,
            renew,
        ),
        Some(left_s) => {
            let days = left_s / DAY_S;
            let finding = Finding::ok(
                Area::Certificate,
                check,
                format!("ends {end}, in {days} days"),
            );
            match days {
                0..DAYS_BEFORE => finding.bad(
                    Severity::Warning,
                    "from then on connections that need it are refused",
                    renew,
                ),
                _ => finding,
            }
        }
    }
}
