//! Several VPNs, of which one is away: which engines are hidden, where others start, what moves back.

use super::health::State;

/// What a VPN's health means for engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its engines are of no use.
    Away,
    /// Its engines serve; none is moved to it yet.
    Recovering,
    /// Its engines serve.
    Steady,
}

impl From<State> for Standing {
    /// A VPN of which nothing is known yet is not taken for lost, and nothing is moved to it.
    fn from(state: State) -> Self {
        match state {
            State::Unhealthy => Self::Away,
            State::Unknown | State::Recovering { .. } => Self::Recovering,
            State::Healthy | State::Stable => Self::Steady,
        }
    }
}

/// A VPN and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its name.
    pub vpn: String,
    /// How it is.
    pub standing: Standing,
    /// Engines that run.
    pub engines: u32,
    /// Engines that are being started, or that somebody has reserved a place for.
    pub pending: u32,
    /// Engines that may be behind it.
    pub engines_max: u32,
}

impl Load {
    fn total(&self) -> u32 {
        self.engines.saturating_add(self.pending)
    }
}

/// Engines to make elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The VPN that they are behind.
    pub from: String,
    /// The VPN that others start behind.
    pub to: String,
    /// How many.
    pub engines: u32,
}

/// What replaces the engines of VPNs that are away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replacements {
    /// Where they start.
    pub moves: Vec<Move>,
    /// Engines that no VPN has room for.
    pub unplaced: u32,
}

/// Whether engines behind a VPN are hidden from routing.
pub const fn is_hidden(standing: Standing) -> bool {
    matches!(standing, Standing::Away)
}

/// Where the engines of VPNs that are away, running or on their way, start anew: each behind the VPN that has the
/// fewest then, steady ones first.
///
/// The caller books each as pending before it asks again, and takes it from the VPN that is away: else the same engine
/// is replaced twice.
pub fn replacements(loads: &[Load]) -> Replacements {
    let mut found = Replacements::default();
    let mut after: Vec<Load> = loads.to_vec();
    for lost in loads.iter().filter(|load| is_hidden(load.standing)) {
        for placed in 0..lost.total() {
            let target = after
                .iter_mut()
                .filter(|load| !is_hidden(load.standing) && load.total() < load.engines_max)
                .min_by_key(|load| (load.standing != Standing::Steady, load.total()));
            match target {
                Some(target) => {
                    target.pending += 1;
                    add(&mut found.moves, &lost.vpn, &target.vpn);
                }
                None => {
                    let rest = lost.total() - placed;
                    found.unplaced = found.unplaced.saturating_add(rest);
                    break;
                }
            }
        }
    }
    found
}

/// What moves between steady VPNs so that they differ by one engine at most; to ask after a VPN became stable.
///
/// Only engines that run move, each from the fullest to the emptiest. Nothing moves while a VPN is away or recovering:
/// what is on its way would move twice.
pub fn rebalance(loads: &[Load]) -> Vec<Move> {
    let mut moves = Vec::new();
    if loads.iter().any(|load| load.standing != Standing::Steady) {
        return moves;
    }
    let mut after: Vec<Load> = loads.to_vec();
    loop {
        let fullest = (0..after.len())
            .filter(|&i| after[i].engines > 0)
            .max_by_key(|&i| (after[i].total(), std::cmp::Reverse(i)));
        let emptiest = (0..after.len())
            .filter(|&i| after[i].total() < after[i].engines_max)
            .min_by_key(|&i| (after[i].total(), i));
        let (Some(from), Some(to)) = (fullest, emptiest) else {
            return moves;
        };
        if after[from].total() < after[to].total().saturating_add(2) {
            return moves;
        }
        after[from].engines -= 1;
        after[to].pending += 1;
        add(&mut moves, &after[from].vpn, &after[to].vpn);
    }
}

fn add(moves: &mut Vec<Move>, from: &str, to: &str) {
    match moves
        .iter_mut()
        .find(|step| step.from == from && step.to == to)
    {
        Some(step) => step.engines += 1,
        None => moves.push(Move {
            from: from.to_owned(),
            to: to.to_owned(),
            engines: 1,
        }),
    }
}
