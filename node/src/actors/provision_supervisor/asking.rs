//! What a job asks the supervisor for: slot, VPN and ports.

use std::collections::BTreeSet;

use weir_control_plane::jobs::Claim;

use super::Parts;
use super::handle::engines_wanted;
use super::messages::{Reserve, Reserved};
use super::plan::EnginePlan;
use super::runner::{ASK_TIMEOUT, Failed};

pub(super) async fn reserve(
    parts: &Parts,
    claim: &Claim,
    plan: &EnginePlan,
    (other_port, slots_after): (bool, u32),
) -> Result<Reserved, Failed> {
    let wanted = Reserve {
        other_port,
        slots_after,
        ..wanted(claim, plan)
    };
    ask_for(parts, wanted).await
}

/// As [`reserve`], with others for these further ports.
pub(super) async fn reserve_extras_anew(
    parts: &Parts,
    claim: &Claim,
    plan: &EnginePlan,
    other_extras: BTreeSet<u16>,
) -> Result<Reserved, Failed> {
    let wanted = Reserve {
        other_extras,
        ..wanted(claim, plan)
    };
    ask_for(parts, wanted).await
}

/// As [`reserve`], behind none of these VPNs.
pub(super) async fn reserve_anew(
    parts: &Parts,
    claim: &Claim,
    plan: &EnginePlan,
    full_vpns: &BTreeSet<String>,
) -> Result<Reserved, Failed> {
    let wanted = Reserve {
        full_vpns: full_vpns.clone(),
        ..wanted(claim, plan)
    };
    ask_for(parts, wanted).await
}

fn wanted(claim: &Claim, plan: &EnginePlan) -> Reserve {
    Reserve {
        job: claim.ticket.job_id.clone(),
        service: plan.service.clone(),
        other_port: false,
        slots_after: 0,
        full_vpns: BTreeSet::new(),
        other_extras: BTreeSet::new(),
        engines_wanted: engines_wanted(&claim.spec),
    }
}

async fn ask_for(parts: &Parts, reserve: Reserve) -> Result<Reserved, Failed> {
    let reserved = parts
        .links
        .reserve
        .ask(reserve, None, ASK_TIMEOUT)
        .await??;
    reserved.ok_or(Failed::NotNeeded)
}
