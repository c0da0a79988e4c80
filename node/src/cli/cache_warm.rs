//! `weir cache warm`: has a node fetch what will be asked for.

use std::path::PathBuf;

use clap::Args;
use tonic::transport::Channel;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::cache_client::CacheClient;

use super::output::{Failure, Format, print, print_json};

/// Bytes of a file of URLs.
const FILE_BYTES_MAX: u64 = 8 << 20;

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct Warm {
    /// URLs as clients write them, or paths of the hosts that routes name.
    urls: Vec<String>,
    /// A file with one on each line; lines that begin with `#` are none.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Besides, what is asked for most on this node.
    #[arg(long)]
    hot: bool,
}

impl Warm {
    pub(super) async fn run(
        self,
        mut client: CacheClient<Channel>,
        format: Format,
    ) -> Result<(), Failure> {
        let mut urls = self.urls;
        if let Some(path) = self.file {
            urls.extend(read(&path)?);
        }
        let request = pb::WarmRequest {
            urls,
            hot: self.hot,
        };
        let mut results = client.warm(request).await?.into_inner();
        let (mut all, mut failed) = (Vec::new(), 0);
        while let Some(result) = results.message().await? {
            failed += usize::from(result.outcome == "failed");
            match format {
                Format::Text => print(&line(&result))?,
                Format::Json => all.push(result),
            }
        }
        if format == Format::Json {
            print_json(&all)?;
        }
        match failed {
            0 => Ok(()),
            _ => Err(Failure::Other(format!("{failed} could not be fetched"))),
        }
    }
}

fn read(path: &std::path::Path) -> Result<Vec<String>, Failure> {
    let failed = |why: String| Failure::Other(format!("{}: {why}", path.display()));
    let bytes = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > FILE_BYTES_MAX {
        let why = format!("{} bytes, at most {FILE_BYTES_MAX} are read", bytes.len());
        return Err(failed(why));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let lines = text.lines().map(str::trim);
    let urls = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(urls.map(str::to_owned).collect())
}

fn line(result: &pb::WarmResult) -> String {
    let pb::WarmResult {
        url,
        outcome,
        status,
        bytes,
        why,
        ..
    } = result;
    let answer = match status {
        0 => String::new(),
        status => format!("  {status}, {bytes} bytes"),
    };
    match why.is_empty() {
        true => format!("{outcome:<8} {url}{answer}"),
        false => format!("{outcome:<8} {url}{answer}: {why}"),
    }
}
