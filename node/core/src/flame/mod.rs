//! Stacks of calls with how often each was seen, and their drawing as a flame graph: one SVG that needs nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

const WIDTH: f64 = 1_200.0;
const ROW: f64 = 18.0;
const TOP: f64 = 40.0;
/// Narrower calls are left out: nobody could see them.
const NARROWEST: f64 = 0.5;
/// Calls that are drawn at most, the widest levels first.
const CALLS_MAX: usize = 20_000;
/// How deep a drawing goes.
const DEPTH_MAX: usize = 128;
/// Of a letter, on average.
const LETTER: f64 = 6.6;

const STYLE: &str = "text{font:11px ui-monospace,monospace;fill:#111;pointer-events:none}.t{font-size:14px}\
    .back{fill:#fff}rect{stroke:#fff;stroke-width:.5}g:hover rect{stroke:#000;stroke-width:1.5}\
    @media(prefers-color-scheme:dark){.back{fill:#16181d}rect{stroke:#16181d}.t{fill:#ddd}g:hover rect{stroke:#fff}}";

/// What is counted of stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// How often each was seen.
    #[default]
    Samples,
    /// Bytes that belong to it.
    Bytes,
}

impl Unit {
    fn shown(self, times: u64) -> String {
        const MIB: f64 = (1 << 20) as f64;
        match self {
            Self::Samples => format!("{times} samples"),
            Self::Bytes if times < 1 << 20 => format!("{:.1} KiB", times as f64 / 1_024.0),
            Self::Bytes => format!("{:.1} MiB", times as f64 / MIB),
        }
    }
}

/// Stacks, each from its root to what ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks(BTreeMap<Vec<String>, u64>);

impl Stacks {
    /// Counts a stack so many times more.
    pub fn add(&mut self, stack: Vec<String>, times: u64) {
        if times > 0 {
            *self.0.entry(stack).or_default() += times;
        }
    }

    /// Each stack and how often it was seen, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[String], u64)> {
        self.0
            .iter()
            .map(|(stack, times)| (stack.as_slice(), *times))
    }

    /// How often any was seen.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The flame graph: the root at the bottom, the width of a call is what was counted of it.
    pub fn svg(&self, title: &str, unit: Unit) -> String {
        let (total, mut calls) = (self.total(), Vec::new());
        let stacks: Vec<(&[String], u64)> = self.iter().collect();
        lay(&stacks, 0, 0, total, &mut calls);
        calls.sort_by_key(|call| call.depth);
        calls.truncate(CALLS_MAX);
        let levels = calls.iter().map(|call| call.depth + 1).max().unwrap_or(0);
        let height = TOP + ROW * levels as f64 + 8.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\
             <style>{STYLE}</style><rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\
             <text class=\"t\" x=\"8\" y=\"24\">{}</text>",
            escaped(title)
        );
        for call in &calls {
            call.draw(&mut svg, (total, unit), height);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// One call in the drawing.
struct Call<'a> {
    name: &'a str,
    depth: usize,
    /// What was seen of those to its left.
    before: u64,
    times: u64,
}

/// Places the calls of sorted stacks that are alike up to `depth`: stacks that go on alike stand side by side.
fn lay<'a>(
    stacks: &[(&'a [String], u64)],
    depth: usize,
    mut before: u64,
    total: u64,
    calls: &mut Vec<Call<'a>>,
) {
    if depth >= DEPTH_MAX {
        return;
    }
    let name = |(stack, _): &(&'a [String], u64)| stack.get(depth).map(String::as_str);
    for alike in stacks.chunk_by(|one, other| name(one) == name(other)) {
        let times = alike.iter().map(|(_, times)| times).sum::<u64>();
        if let Some(name) = name(&alike[0])
            && times as f64 * WIDTH >= NARROWEST * total as f64
        {
            calls.push(Call {
                name,
                depth,
                before,
                times,
            });
            lay(alike, depth + 1, before, total, calls);
        }
        before += times;
    }
}

impl Call<'_> {
    fn draw(&self, svg: &mut String, (total, unit): (u64, Unit), height: f64) {
        let scale = WIDTH / total.max(1) as f64;
        let (x, width) = (self.before as f64 * scale, self.times as f64 * scale);
        let y = height - 8.0 - ROW * (self.depth + 1) as f64;
        let share = self.times as f64 * 100.0 / total.max(1) as f64;
        let (name, times) = (escaped(self.name), unit.shown(self.times));
        let hue = 10 + crc32fast::hash(self.name.as_bytes()) % 45;
        let _ = write!(
            svg,
            "<g><title>{name} ({times}, {share:.1} %)</title><rect x=\"{x:.2}\" y=\"{y:.1}\" \
             width=\"{width:.2}\" height=\"{ROW}\" rx=\"2\" fill=\"hsl({hue} 85% 65%)\"/>"
        );
        let letters = ((width - 6.0) / LETTER).max(0.0) as usize;
        if letters >= 3 {
            let shown = shortened(self.name, letters);
            let (x, y) = (x + 3.0, y + 13.0);
            let _ = write!(
                svg,
                "<text x=\"{x:.2}\" y=\"{y:.1}\">{}</text>",
                escaped(&shown)
            );
        }
        svg.push_str("</g>");
    }
}

fn shortened(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    name.chars().take(letters - 2).chain("..".chars()).collect()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stack(text: &str) -> Vec<String> {
        text.split(';').map(str::to_owned).collect()
    }

    #[test]
    fn calls_stand_on_their_callers_as_wide_as_they_were_seen() {
        let mut stacks = Stacks::default();
        stacks.add(stack("main;poll<T>;read"), 1);
        stacks.add(stack("main;poll<T>"), 1);
        stacks.add(stack("main;write"), 2);
        stacks.add(stack("main;write"), 0);
        assert_eq!(stacks.total(), 4);
        let svg = stacks.svg("a & b", Unit::Samples);
        for expected in [
            "a &amp; b",
            "<title>main (4 samples, 100.0 %)</title><rect x=\"0.00\"",
            "<title>poll&lt;T&gt; (2 samples, 50.0 %)</title><rect x=\"0.00\"",
            "<title>read (1 samples, 25.0 %)</title>",
            "<title>write (2 samples, 50.0 %)</title><rect x=\"600.00\"",
        ] {
            assert!(svg.contains(expected), "{expected} in {svg}");
        }
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        stacks.add(stack("main;write"), 3 << 20);
        let svg = stacks.svg("bytes", Unit::Bytes);
        assert!(svg.contains("<title>write (3.0 MiB, 100.0 %)"), "{svg}");
    }

    #[test]
    fn nothing_seen_is_drawn_as_nothing() {
        let svg = Stacks::default().svg("nothing", Unit::Bytes);
        assert!(svg.contains("nothing") && !svg.contains("<g>"));
    }

    proptest! {
        #[test]
        fn no_call_is_wider_than_its_caller(
            all in prop::collection::vec((prop::collection::vec("[a-c]", 1..6), 1_u64..9), 1..20),
        ) {
            let mut stacks = Stacks::default();
            for (stack, times) in &all {
                stacks.add(stack.clone(), *times);
            }
            let (laid, mut calls): (Vec<_>, _) = (stacks.iter().collect(), Vec::new());
            lay(&laid, 0, 0, stacks.total(), &mut calls);
            for call in calls.iter().filter(|call| call.depth > 0) {
                let is_on_one = calls.iter().any(|below| {
                    below.depth + 1 == call.depth
                        && below.before <= call.before
                        && below.before + below.times >= call.before + call.times
                });
                prop_assert!(is_on_one, "{} at {}", call.name, call.depth);
            }
            let ground: u64 = calls.iter().filter(|c| c.depth == 0).map(|c| c.times).sum();
            prop_assert_eq!(ground, stacks.total());
        }
    }
}
