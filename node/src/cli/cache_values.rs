//! `weir cache`: values that applications put.

use std::time::Duration;

use clap::Args;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use weir_core::units::{format_rough, parse_duration};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::cache_client::CacheClient;
use weir_proto::node::v1::watch_values_request::Of;

use super::cache::show;
use super::output::{Failure, Format, print, print_json, with_bytes};

type Client = CacheClient<Channel>;

#[derive(Args)]
pub(super) struct Key {
    /// The value's key.
    key: String,
    /// The key's namespace: `values`, one of cache.namespaces, or of a route with a cache.
    #[arg(long, default_value = "")]
    namespace: String,
}

impl Key {
    fn into_wire(self) -> pb::ValueKey {
        pb::ValueKey {
            key: self.key,
            namespace: self.namespace,
        }
    }
}

#[derive(Args)]
pub(super) struct Put {
    #[command(flatten)]
    key: Key,
    /// The value, as text.
    value: String,
    /// How long it lives; cache.aside_ttl without.
    #[arg(long, value_parser = parse)]
    ttl: Option<Duration>,
    /// A tag by which it is purged; may be repeated.
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// Only if this is the version now.
    #[arg(long, conflicts_with = "if_absent")]
    if_version: Option<String>,
    /// Only if there is no value.
    #[arg(long)]
    if_absent: bool,
}

#[derive(Args)]
pub(super) struct Touch {
    #[command(flatten)]
    key: Key,
    /// How long it lives from now on; cache.aside_ttl without.
    #[arg(long, value_parser = parse)]
    ttl: Option<Duration>,
    /// Only if this is the version now.
    #[arg(long)]
    if_version: Option<String>,
}

#[derive(Args)]
pub(super) struct Watch {
    #[command(flatten)]
    what: Watched,
    /// The namespace: `values`, one of cache.namespaces, or of a route with a cache.
    #[arg(long, default_value = "")]
    namespace: String,
    /// End after so many changes.
    #[arg(long)]
    count: Option<usize>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Watched {
    /// One value.
    #[arg(long)]
    key: Option<String>,
    /// Values whose keys begin like this.
    #[arg(long)]
    prefix: Option<String>,
    /// Values with this tag.
    #[arg(long)]
    tag: Option<String>,
}

fn parse(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(ttl) if ttl.as_millis() == 0 => Err("expected at least 1ms".to_owned()),
        Ok(ttl) => Ok(ttl),
        Err(error) => Err(error.to_string()),
    }
}

fn millis(ttl: Option<Duration>) -> u64 {
    ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

/// Shows the value of a key.
pub(super) async fn get(
    mut client: Client,
    format: Format,
    key: String,
    namespace: String,
) -> Result<(), Failure> {
    let key = Some(Key { key, namespace }.into_wire());
    let value = client.get(pb::GetValueRequest { key }).await?;
    let value = value.get_ref();
    match format {
        Format::Json => print_json(&with_bytes(value, "value", &value.value)?),
        Format::Text => print(&value_as_text(value)),
    }
}

fn value_as_text(value: &pb::CacheValue) -> String {
    let ttl = format_rough(Duration::from_millis(value.ttl_ms));
    let head = format!(
        "version {}  for {ttl}, {} bytes, tags: {}, from {}",
        value.version,
        value.value.len(),
        super::control::text::or_dash(&value.tags.join(", ")),
        value.tier
    );
    format!("{head}\n\n{}", String::from_utf8_lossy(&value.value))
}

impl Put {
    pub(super) async fn run(self, mut client: Client, format: Format) -> Result<(), Failure> {
        let request = pb::PutValueRequest {
            key: Some(self.key.into_wire()),
            value: self.value.into_bytes(),
            ttl_ms: millis(self.ttl),
            tags: self.tags,
            if_version: self.if_version,
            if_absent: self.if_absent,
            lease: String::new(),
        };
        let put = client.put(request).await?;
        show(put.get_ref(), format, told)
    }
}

impl Touch {
    pub(super) async fn run(self, mut client: Client, format: Format) -> Result<(), Failure> {
        let request = pb::TouchValueRequest {
            key: Some(self.key.into_wire()),
            ttl_ms: millis(self.ttl),
            if_version: self.if_version,
        };
        let touched = client.touch(request).await?;
        show(touched.get_ref(), format, told)
    }
}

fn told(put: &pb::PutValueResponse) -> String {
    let ttl = format_rough(Duration::from_millis(put.ttl_ms));
    format!("version {}, for {ttl}", put.version)
}

impl Watch {
    pub(super) async fn run(self, mut client: Client, format: Format) -> Result<(), Failure> {
        let Watched { key, prefix, tag } = self.what;
        let request = pb::WatchValuesRequest {
            namespace: self.namespace,
            of: key
                .map(Of::Key)
                .or(prefix.map(Of::Prefix))
                .or(tag.map(Of::Tag)),
            since: Vec::new(),
        };
        let mut changes = client.watch(request).await?.into_inner();
        let mut left = self.count.unwrap_or(usize::MAX);
        while left > 0
            && let Some(change) = changes.next().await
        {
            let change = change?;
            if change.kind != "watching" {
                left -= 1;
            }
            match format {
                Format::Json => print_json(&change)?,
                Format::Text => print(&line(&change))?,
            }
        }
        Ok(())
    }
}

fn line(change: &pb::ValueChange) -> String {
    let node = change.at.as_ref().map_or("", |at| at.node.as_str());
    let what = match &*change.kind {
        "purged" => change.scope.clone(),
        "gap" => change.reason.clone(),
        "watching" => String::new(),
        _ => format!("{}  {}", change.key, change.version),
    };
    format!("{:9} {node}  {what}", change.kind)
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_value_is_kept_is_told_as_people_read_it() {
        let value = pb::CacheValue {
            version: "3".to_owned(),
            ttl_ms: 3_587_344,
            ..pb::CacheValue::default()
        };
        let told = value_as_text(&value);
        assert!(
            told.starts_with("version 3  for 59m 47s, 0 bytes"),
            "{told}"
        );
        let put = pb::PutValueResponse {
            version: "4".to_owned(),
            ttl_ms: 90_000,
        };
        assert_eq!(super::told(&put), "version 4, for 1m 30s");
    }
}
