//! What the node keeps of answers, and which routes' answers it keeps.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use weir_cache::SharedTier;
use weir_cache::redis::{InvalidUrl, RedisUrl};
use weir_core::cache::{Policy, RequestCookie, SetCookie, room};
use weir_core::route::PathPattern;
use weir_core::tuning::Value;
use weir_core::tuning::knobs::cache;
use weir_core::units::{format_bytes, format_duration, parse_bytes, parse_duration};

use super::reader::{Problem, Section};
use super::warming::WarmSettings;
use crate::ports::memory;

const LIFETIME: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400 * 365);
const RULES_MAX: usize = 256;
/// Namespaces of values, and bytes of the name of one.
const NAMESPACES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 64;

/// The tiers of the cache on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Memory of the first tier.
    pub l1_bytes_max: u64,
    /// The longest answer that the first tier keeps.
    pub l1_entry_bytes_max: u64,
    /// How nodes share it.
    pub shared: SharedTier,
    /// Namespaces of values that applications put, beside those of routes.
    pub namespaces: Vec<String>,
    /// What is fetched before anybody asks for it.
    pub warm: WarmSettings,
}

impl CacheSettings {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "cache").read_by("cache");
        let ttl_max = s.tuned(problems, "l2_ttl", &cache::L2_TTL);
        let command_timeout = s.tuned(
            problems,
            "redis_command_timeout",
            &cache::REDIS_COMMAND_TIMEOUT,
        );
        let connect_timeout = s.tuned(
            problems,
            "redis_connect_timeout",
            &cache::REDIS_CONNECT_TIMEOUT,
        );
        let mut redis = root.section(problems, "redis");
        let url = read_redis_url(&mut redis, problems);
        redis.finish(problems);
        let l1_bytes_max = read_l1_bytes(&mut s, problems);
        let mut of_warming = s.read_by("cache warming");
        let warm = WarmSettings::read(&mut of_warming, problems);
        let mut s = of_warming.read_by("cache");
        let read = Self {
            warm,
            l1_bytes_max,
            l1_entry_bytes_max: read_entry_bytes(&mut s, problems, l1_bytes_max),
            namespaces: read_namespaces(&mut s, problems),
            shared: SharedTier {
                url,
                command_timeout,
                connect_timeout,
                ttl_max,
                bytes_max: s.tuned(problems, "l2_bytes_max", &cache::L2_BYTES_MAX),
                memory_ttl: s.tuned(problems, "l1_ttl", &cache::L1_TTL),
                mesh_ttl: s.tuned(problems, "l3_ttl", &cache::L3_TTL),
                aside_ttl: s.tuned(problems, "aside_ttl", &cache::ASIDE_TTL),
            },
        };
        s.finish(problems);
        read
    }
}

fn read_namespaces(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<String> {
    let names = s.texts(problems, "namespaces");
    if names.len() > NAMESPACES_MAX {
        let what = format!("{} namespaces, at most {NAMESPACES_MAX}", names.len());
        s.problem(problems, "namespaces", what);
    }
    for name in &names {
        let is_fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_fine) {
            let what =
                format!("`{name}` is not 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, '.', '_' and '-'");
            s.problem(problems, "namespaces", what);
        }
    }
    names
}

/// The longest answer that is kept: many fit into memory.
fn read_entry_bytes(s: &mut Section, problems: &mut Vec<Problem>, l1_bytes_max: u64) -> u64 {
    let key = "l1_entry_bytes_max";
    let bytes_max = l1_bytes_max / 8;
    let said = s.quantity(problems, key, 1024..=1 << 30, (parse_bytes, format_bytes));
    match said {
        None => bytes_max.min(64 << 20),
        Some(bytes) => {
            if bytes > bytes_max {
                let (bytes, of) = (format_bytes(bytes), format_bytes(l1_bytes_max));
                let what = format!("{bytes}, at most an eighth of l1_bytes_max, which is {of}");
                s.contradiction(problems, key, what, [&cache::L1_BYTES_MAX; 2]);
            }
            bytes.min(bytes_max)
        }
    }
}

/// Memory of the first tier, which the machine must have.
fn read_l1_bytes(s: &mut Section, problems: &mut Vec<Problem>) -> u64 {
    let (key, knob) = ("l1_bytes_max", &cache::L1_BYTES_MAX);
    let is_said = s.has(key) || s.is_given(knob);
    let bytes: u64 = s.tuned(problems, key, knob);
    let Some(machine_bytes) = memory::limit_bytes() else {
        return bytes;
    };
    if !is_said {
        let bytes = room::derived(bytes, machine_bytes);
        s.resolved(knob, Value::Bytes(bytes));
        return bytes;
    }
    room::asked(bytes, machine_bytes).unwrap_or_else(|too_much| {
        let what = format!("{bytes} is {too_much}");
        s.contradiction(problems, key, what, [knob; 2]);
        too_much.bytes_max
    })
}

/// What a wrong URL may begin with to be told so.
const SCHEMES: [&str; 6] = ["http", "https", "tcp", "redis", "valkey", "unix"];

/// A wrong one is not told back: it may hold a password.
fn read_redis_url(s: &mut Section, problems: &mut Vec<Problem>) -> Option<RedisUrl> {
    let text = s.text(problems, "url")?;
    let url = text.parse::<RedisUrl>();
    let told = |error: InvalidUrl| match (error, text.split_once("://")) {
        (InvalidUrl::Form, Some((scheme, _))) if SCHEMES.contains(&scheme) => {
            format!("`{scheme}://...` {error}")
        }
        (InvalidUrl::Form, None) => format!("has no `://`; it {error}"),
        _ => error.to_string(),
    };
    url.map_err(|error| s.problem(problems, "url", told(error)))
        .ok()
}

/// How the answers of one route are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCache {
    /// Keys, tags and purges of one namespace do not meet those of another.
    pub namespace: Arc<str>,
    policy: Arc<Policy>,
    rules: Vec<CacheRule>,
}

/// What holds for some paths of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CacheRule {
    path: PathPattern,
    /// `None`: they pass by the cache.
    policy: Option<Arc<Policy>>,
}

impl RouteCache {
    /// What holds for a path: the first rule that matches, else the route's own. `None`: it passes by the cache.
    pub fn policy(&self, path: &str) -> Option<&Arc<Policy>> {
        let rule = self.rules.iter().find(|rule| rule.path.matches(path));
        rule.map_or(Some(&self.policy), |rule| rule.policy.as_ref())
    }

    /// The `cache` of a route: `true`, or a table.
    pub(super) fn read(
        route: &mut Section,
        problems: &mut Vec<Problem>,
        name: &str,
    ) -> Option<Self> {
        let mut s = route.switched_section(problems, "cache")?;
        let namespace = s.text(problems, "namespace");
        let policy = read_policy(&mut s, problems, &Policy::default());
        let mut rules = Vec::new();
        for mut rule in s.list(problems, "rules", "path") {
            if let Some(rule) = read_rule(&mut rule, problems, &policy) {
                rules.push(rule);
            }
            rule.finish(problems);
        }
        if rules.len() > RULES_MAX {
            let what = format!("{} rules, at most {RULES_MAX}", rules.len());
            s.problem(problems, "rules", what);
        }
        s.finish(problems);
        Some(Self {
            namespace: namespace.as_deref().unwrap_or(name).into(),
            policy: Arc::new(policy),
            rules,
        })
    }
}

fn read_rule(s: &mut Section, problems: &mut Vec<Problem>, route: &Policy) -> Option<CacheRule> {
    let (path, _) = super::routes::read_path(s, problems);
    let path = match PathPattern::compile(path) {
        Ok(path) => path,
        Err(error) => {
            s.problem(problems, "path", error.to_string());
            return None;
        }
    };
    if s.flag(problems, "bypass", false) {
        return Some(CacheRule { path, policy: None });
    }
    let policy = read_policy(s, problems, route);
    Some(CacheRule {
        path,
        policy: Some(Arc::new(policy)),
    })
}

fn read_policy(s: &mut Section, problems: &mut Vec<Problem>, default: &Policy) -> Policy {
    let mut lifetime =
        |key: &str| s.quantity(problems, key, LIFETIME, (parse_duration, format_duration));
    let ttl = lifetime("ttl").or(default.ttl);
    let ttl_max = lifetime("ttl_max").unwrap_or(default.ttl_max);
    let negative_ttl = lifetime("negative_ttl").unwrap_or(default.negative_ttl);
    let error_ttl_max = lifetime("error_ttl_max").unwrap_or(default.error_ttl_max);
    let bad_request_ttl_max =
        lifetime("bad_request_ttl_max").unwrap_or(default.bad_request_ttl_max);
    let error_ttl = lifetime("error_ttl").unwrap_or(default.error_ttl);
    let stale_while_revalidate =
        lifetime("stale_while_revalidate").unwrap_or(default.stale_while_revalidate);
    let stale_if_error = lifetime("stale_if_error").unwrap_or(default.stale_if_error);
    let stale_if_disconnected =
        lifetime("stale_if_disconnected").unwrap_or(default.stale_if_disconnected);
    let keep = lifetime("keep").unwrap_or(default.keep);
    let targets: Vec<HeaderName> = s.parsed_list(problems, "targets");
    let body_bytes_max = s.quantity(
        problems,
        "body_bytes_max",
        0..=1 << 40,
        (parse_bytes, format_bytes),
    );
    Policy {
        ttl,
        ttl_max,
        negative_ttl,
        error_ttl,
        error_ttl_max,
        bad_request_ttl_max,
        stale_while_revalidate,
        stale_if_error,
        stale_if_disconnected,
        stale_despite_s_maxage: s.flag(
            problems,
            "stale_despite_s_maxage",
            default.stale_despite_s_maxage,
        ),
        keep,
        heuristic: s.flag(problems, "heuristic", default.heuristic),
        targets: if targets.is_empty() {
            default.targets.clone()
        } else {
            targets
        },
        set_cookie: read_choice(s, problems, "set_cookie", &SET_COOKIE)
            .unwrap_or(default.set_cookie),
        request_cookie: read_choice(s, problems, "request_cookie", &REQUEST_COOKIE)
            .unwrap_or(default.request_cookie),
        client_directives: s.flag(problems, "client_directives", default.client_directives),
        check_extension: s.flag(problems, "check_extension", default.check_extension),
        body_bytes_max: body_bytes_max.unwrap_or(default.body_bytes_max),
    }
}

const SET_COOKIE: [(&str, SetCookie); 2] =
    [("refuse", SetCookie::Refuse), ("strip", SetCookie::Strip)];
const REQUEST_COOKIE: [(&str, RequestCookie); 3] = [
    ("store-if-public", RequestCookie::StoreIfPublic),
    ("ignore", RequestCookie::Ignore),
    ("pass", RequestCookie::Pass),
];

fn read_choice<T: Copy>(
    s: &mut Section,
    problems: &mut Vec<Problem>,
    key: &str,
    choices: &[(&str, T)],
) -> Option<T> {
    let text = s.text(problems, key)?;
    let chosen = choices.iter().find(|(name, _)| *name == text);
    if chosen.is_none() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        s.problem(
            problems,
            key,
            format!("`{text}` is none of {}", names.join(", ")),
        );
    }
    chosen.map(|(_, choice)| *choice)
}
