//! One thing that was found, how grave it is, and what mends it.

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It is as it should be.
    Ok,
    /// Worth knowing; nothing suffers from it now.
    Info,
    /// Something will suffer, under load or soon.
    Warning,
    /// Something does not work.
    Error,
}

impl Severity {
    /// As people and scripts read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// What a node speaks with.
    Reach,
    /// Certificates and secrets.
    Certificate,
    /// Folders that a node writes to.
    Disk,
    /// Limits of the process.
    Limit,
    /// The wall clock.
    Clock,
    /// Kernel parameters.
    Kernel,
    /// What the configuration says.
    Configuration,
}

impl Area {
    /// As people and scripts read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reach => "reach",
            Self::Certificate => "certificate",
            Self::Disk => "disk",
            Self::Limit => "limit",
            Self::Clock => "clock",
            Self::Kernel => "kernel",
            Self::Configuration => "configuration",
        }
    }
}

/// A kernel parameter and the value that it should get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As `sysctl` names it.
    pub parameter: &'static str,
    /// As `sysctl` takes it.
    pub value: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// What it is about.
    pub area: Area,
    /// What was looked at.
    pub check: String,
    /// What was found.
    pub found: String,
    /// What comes of it; empty where nothing does.
    pub effect: String,
    /// The command or line of configuration that mends it; empty where nothing needs to be.
    pub fix: String,
    /// The same, where it is a kernel parameter.
    pub change: Option<Change>,
}

impl Finding {
    /// It is as it should be.
    pub(super) fn ok(area: Area, check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            severity: Severity::Ok,
            area,
            check: check.into(),
            found: found.into(),
            effect: String::new(),
            fix: String::new(),
            change: None,
        }
    }

    /// It is not, with what comes of it and what mends it.
    pub(super) fn bad(
        self,
        severity: Severity,
        effect: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            effect: effect.into(),
            fix: fix.into(),
            ..self
        }
    }
}

/// The gravest of all; [`Severity::Ok`] of none.
pub fn worst(findings: &[Finding]) -> Severity {
    let severities = findings.iter().map(|finding| finding.severity);
    severities.max().unwrap_or(Severity::Ok)
}
