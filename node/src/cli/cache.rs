//! `weir cache`: what a node keeps of answers.

use std::time::Duration;

use clap::{Args, Subcommand};
use tonic::transport::Channel;
use weir_core::purge::Wait;
use weir_core::units::{format_bytes, format_rough, parse_duration};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::cache_client::CacheClient;
use weir_proto::node::v1::purge_request::Scope;

use super::cache_values as values;
use super::cache_warm::Warm;
use super::output::{Failure, Format, connect, note, print, print_json, table, with_bytes};
use super::{Target, block_on};

/// Bytes of a body that are shown.
const BODY_BYTES_SHOWN: u64 = 64 << 10;

/// Show what a node keeps of answers, and purge it on every node
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir cache\n  weir cache get http://www.example.com/\n  \
    weir cache purge --tag article-7 --wait all\n  weir cache put user/7 Ada --ttl 5m"
)]
pub(super) struct Cache {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show how much is kept and what became of requests (the default)
    #[command(after_help = "Example:\n  weir cache stats -o json")]
    Stats,
    /// Show what is kept for a URL on this node, or the value of a key (whatever holds no `://`)
    #[command(
        after_help = "Example:\n  weir cache get http://www.example.com/ --body\n  weir cache get user/7"
    )]
    Get {
        #[command(flatten)]
        request: Request,
        /// The key's namespace.
        #[arg(long, default_value = "")]
        namespace: String,
        /// Show how the body begins.
        #[arg(long)]
        body: bool,
    },
    /// Say why the answer for a URL is kept or is not, and until when it is good for what
    #[command(
        after_help = "Example:\n  weir cache explain http://www.example.com/ -H \"Accept-Language: en\""
    )]
    Explain {
        #[command(flatten)]
        request: Request,
        /// The request's method.
        #[arg(short = 'X', long, default_value = "GET")]
        method: String,
    },
    /// Make answers invalid on every node
    #[command(
        after_help = "Example:\n  weir cache purge --url http://www.example.com/a\n  \
        weir cache purge --prefix www.example.com/blog/ --soft\n  weir cache purge --tag article-7 --wait all"
    )]
    Purge(Purge),
    /// Put a value for applications that ask the cache beside their store
    #[command(
        after_help = "Example:\n  weir cache put user/7 Ada --ttl 5m --tag users\n  \
        weir cache put user/7 Bob --if-version 1a2b3c-9"
    )]
    Put(values::Put),
    /// Give a value another time to live
    #[command(after_help = "Example:\n  weir cache touch user/7 --ttl 10m")]
    Touch(values::Touch),
    /// Show changes of values on every node as they happen
    #[command(
        after_help = "Example:\n  weir cache watch --key user/7\n  weir cache watch --prefix user/ --count 10"
    )]
    Watch(values::Watch),
    /// Fetch what will be asked for, through the node's own routes
    #[command(
        after_help = "Example:\n  weir cache warm http://www.example.com/ http://www.example.com/blog/\n  \
        weir cache warm --file urls.txt\n  weir cache warm --hot"
    )]
    Warm(Warm),
}

#[derive(Args)]
struct Request {
    /// The URL, as clients write it.
    url: String,
    /// A field of the request, `name: value`; may be repeated.
    #[arg(short = 'H', long = "header")]
    headers: Vec<String>,
}

#[derive(Args)]
struct Purge {
    #[command(flatten)]
    what: What,
    /// Only in this namespace; usually the name of a route.
    #[arg(long, default_value = "")]
    namespace: String,
    /// What is kept may still be served while it is validated.
    #[arg(long)]
    soft: bool,
    /// Until it is in force on this node (local), a majority of them (quorum), or all.
    #[arg(long, default_value = "all", value_parser = ["local", "quorum", "all"])]
    wait: String,
    /// How long to wait for other nodes; they are told all the same.
    #[arg(long, default_value = "500ms", value_parser = parse_wait)]
    wait_for: Duration,
    /// Fail with exit code 1 unless it is in force in that time on the nodes that are waited for, those that are away
    /// included.
    #[arg(long)]
    strict: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One URL with all its variants.
    #[arg(long)]
    url: Option<String>,
    /// Whatever has this tag of Surrogate-Key or Cache-Tag.
    #[arg(long)]
    tag: Option<String>,
    /// Host and how the path begins.
    #[arg(long)]
    prefix: Option<String>,
    /// A host.
    #[arg(long)]
    host: Option<String>,
    /// The value of a key.
    #[arg(long)]
    value: Option<String>,
    /// Values whose keys begin like this.
    #[arg(long)]
    value_prefix: Option<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
}

fn parse_wait(text: &str) -> Result<Duration, String> {
    let wait = parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_millis(1)..=Duration::from_secs(10);
    match bounds.contains(&wait) {
        true => Ok(wait),
        false => Err(format!("`{text}` is out of bounds (1ms to 10s)")),
    }
}

impl Cache {
    pub(super) fn run(self) -> Result<(), Failure> {
        let format = self.target.output;
        block_on(async move {
            let mut client = CacheClient::new(connect(&self.target.node).await?);
            match self.action.unwrap_or(Action::Stats) {
                Action::Stats => {
                    let stats = client.get_cache(pb::GetCacheRequest {}).await?;
                    show(stats.get_ref(), format, stats_as_text)
                }
                Action::Get {
                    request, namespace, ..
                } if !request.url.contains("://") => {
                    values::get(client, format, request.url, namespace).await
                }
                Action::Get { request, body, .. } => {
                    let request = pb::CachedRequest {
                        body_bytes_max: if body { BODY_BYTES_SHOWN } else { 0 },
                        ..request.into_wire("")
                    };
                    let entry = client.get_entry(request).await?;
                    let entry = entry.get_ref();
                    match format {
                        Format::Json => print_json(&with_bytes(entry, "body", &entry.body)?),
                        Format::Text => print(&entry_as_text(entry)),
                    }
                }
                Action::Explain { request, method } => {
                    let told = client.explain(request.into_wire(&method)).await?;
                    show(told.get_ref(), format, explanation_as_text)
                }
                Action::Purge(purge) => purge.run(client, format).await,
                Action::Put(put) => put.run(client, format).await,
                Action::Touch(touch) => touch.run(client, format).await,
                Action::Watch(watch) => watch.run(client, format).await,
                Action::Warm(warm) => warm.run(client, format).await,
            }
        })
    }
}

impl Request {
    fn into_wire(self, method: &str) -> pb::CachedRequest {
        pb::CachedRequest {
            url: self.url,
            method: method.to_owned(),
            headers: self.headers,
            body_bytes_max: 0,
        }
    }
}

impl Purge {
    async fn run(self, mut client: CacheClient<Channel>, format: Format) -> Result<(), Failure> {
        let What {
            url,
            tag,
            prefix,
            host,
            value,
            value_prefix,
            all: _,
        } = self.what;
        let named = url.map(Scope::Url).or(tag.map(Scope::Tag));
        let named = named
            .or(prefix.map(Scope::Prefix))
            .or(host.map(Scope::Host))
            .or(value.map(Scope::Value))
            .or(value_prefix.map(Scope::ValuePrefix));
        let wait = Wait::parse(&self.wait).unwrap_or_default();
        let request = pb::PurgeRequest {
            scope: Some(named.unwrap_or(Scope::All(true))),
            namespace: self.namespace,
            soft: self.soft,
            wait: wait.as_str().to_owned(),
            wait_ms: u64::try_from(self.wait_for.as_millis()).unwrap_or(u64::MAX),
        };
        let purged = client.purge(request).await?;
        let purged = purged.get_ref();
        let is_heard = wait.is_over(purged.acked as usize, 0, purged.total as usize);
        if !is_heard {
            note(&format!(
                "not heard in time: {}; told as soon as they are there",
                purged.missing.join(", ")
            ));
        }
        if !purged.cdn_problem.is_empty() {
            note(&purged.cdn_problem);
        }
        show(purged, format, purged_as_text)?;
        if self.strict && !is_heard {
            let why = format!(
                "not in force on the nodes that were waited for, {} (--strict)",
                wait.as_str()
            );
            return Err(Failure::Other(why));
        }
        Ok(())
    }
}

fn purged_as_text(purged: &pb::PurgeResponse) -> String {
    let pb::PurgeResponse {
        acked, total, cdns, ..
    } = purged;
    let told = match cdns.is_empty() {
        true => String::new(),
        false => format!("; told next: {}", cdns.join(", ")),
    };
    format!("purged: in force on {acked} of {total} nodes{told}")
}

pub(super) fn show<T: serde::Serialize>(
    value: &T,
    format: Format,
    as_text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(value),
        Format::Text => print(&as_text(value)),
    }
}

fn stats_as_text(stats: &pb::CacheStats) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let counted = |counts: &std::collections::BTreeMap<String, u64>| {
        let counted = counts.iter().filter(|(_, count)| **count > 0);
        let counted: Vec<String> = counted
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if counted.is_empty() {
            "none".to_owned()
        } else {
            counted.join(", ")
        }
    };
    let bytes = format!(
        "{} of {}",
        format_bytes(stats.bytes),
        format_bytes(stats.bytes_max)
    );
    let link = |peer: &pb::CachePeerLink| match peer.linked {
        true => format!("{} ({} behind)", peer.node, peer.behind),
        false => format!("{} (away)", peer.node),
    };
    let peers: Vec<String> = stats.peers.iter().map(link).collect();
    let cdn = |cdn: &pb::CdnStanding| match (cdn.waiting, &*cdn.problem) {
        (0, _) => format!("{} (told {})", cdn.name, cdn.told),
        (waiting, "") => format!("{} ({waiting} wait)", cdn.name),
        (waiting, problem) => format!(
            "{} ({waiting} wait for {}: {problem})",
            cdn.name,
            seconds(cdn.oldest_s)
        ),
    };
    let cdns: Vec<String> = stats.cdns.iter().map(cdn).collect();
    table(&[
        row("node", stats.node.clone()),
        row("keys", stats.keys.to_string()),
        row("memory", bytes),
        row("requests", counted(&stats.requests)),
        row("stored", stats.stores.to_string()),
        row("not stored", counted(&stats.not_stored)),
        row("fetches under way", stats.flights.to_string()),
        row("purges", counted(&stats.purges)),
        row("purges of others", stats.purges_received.to_string()),
        row(
            "namespaces",
            super::control::text::or_dash(&stats.namespaces.join(", ")),
        ),
        row("nodes", super::control::text::or_dash(&peers.join(", "))),
        row("Redis", redis_as_text(stats.redis.as_ref())),
        row("CDNs", super::control::text::or_dash(&cdns.join(", "))),
    ])
}

fn redis_as_text(redis: Option<&pb::CacheRedis>) -> String {
    let Some(redis) = redis else {
        return "-".to_owned();
    };
    let state = match &*redis.problem {
        "" => redis.state.clone(),
        problem => format!("{} ({problem})", redis.state),
    };
    let ping = match redis.ping_us {
        0 => String::new(),
        us => format!(", answers in {us} us"),
    };
    format!(
        "{state}{ping}: hits {}, misses {}, skipped {}, timeouts {}, errors {}, written {}, dropped {}, {} wait",
        redis.hits,
        redis.misses,
        redis.skipped,
        redis.timeouts,
        redis.errors,
        redis.writes,
        redis.writes_dropped,
        format_bytes(redis.queued_bytes)
    )
}

fn seconds(count: u64) -> String {
    format_rough(Duration::from_secs(count))
}

fn entry_as_text(entry: &pb::CachedAnswer) -> String {
    let freshness = match entry.ttl_s {
        fresh_s @ 0.. => format!("fresh for {}", seconds(fresh_s.unsigned_abs())),
        stale => format!("stale for {}", seconds(stale.unsigned_abs())),
    };
    let head = format!(
        "{}\n{}  age {}, {freshness}, {}, {} bytes, {} tags\n\n{}",
        entry.key,
        entry.status,
        seconds(entry.age_s),
        entry.verdict,
        entry.body_bytes,
        entry.tags,
        entry.headers.join("\n")
    );
    match entry.body.is_empty() {
        true => head,
        false => format!("{head}\n\n{}", String::from_utf8_lossy(&entry.body)),
    }
}

fn explanation_as_text(told: &pb::CacheExplanation) -> String {
    if !told.passes_by.is_empty() {
        return format!(
            "route {}: passes by the cache: {}",
            told.route, told.passes_by
        );
    }
    let kept = match &*told.kept {
        "kept" => format!("kept, {} as to purges", told.verdict),
        "other-variants" => "only answers for other requests are kept (Vary)".to_owned(),
        _ if told.not_kept.is_empty() => "nothing is kept".to_owned(),
        _ => format!("nothing is kept; of the last answer: {}", told.not_kept),
    };
    let head = format!("route {}, key {}: {kept}", told.route, told.key);
    let steps = told.steps.iter();
    let rows: Vec<Vec<String>> = steps
        .map(|step| vec![step.what.clone(), step.found.clone(), step.effect.clone()])
        .collect();
    match rows.is_empty() {
        true => head,
        false => format!("{head}\n{}", table(&rows)),
    }
}
