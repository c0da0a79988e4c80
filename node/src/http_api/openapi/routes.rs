//! Every path of the API: what it takes, what it tells. A test compares this with the router.

/// One method of one path.
pub(super) struct Route {
    /// In small letters.
    pub(super) method: &'static str,
    /// As the router has it.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Content,
    pub(super) answers: &'static [Answer],
}

/// Something that is asked with.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `path`, `query` or `header`.
    pub(super) place: &'static str,
    /// Of JSON.
    pub(super) kind: &'static str,
    pub(super) about: &'static str,
}

/// Something that is told.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: Content,
    /// Whether it has `Retry-After`.
    pub(super) says_when: bool,
}

/// What a body holds.
pub(super) enum Content {
    Nothing,
    /// A message of `weir.node.v1`.
    Message(&'static str),
    /// An array of them.
    Messages(&'static str),
    /// An object with such an array under this name.
    Within(&'static str, &'static str),
    /// Of this schema.
    Json(&'static str),
    /// Of this media type.
    Other(&'static str),
}

impl Content {
    /// The message that it holds.
    pub(super) fn message(&self) -> Option<&'static str> {
        match self {
            Self::Message(name) | Self::Messages(name) | Self::Within(_, name) => Some(name),
            _ => None,
        }
    }
}

const fn query(name: &'static str, kind: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        place: "query",
        kind,
        about,
    }
}

const fn path(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        place: "path",
        kind: "string",
        about,
    }
}

const fn header(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        place: "header",
        kind: "string",
        about,
    }
}

const fn answer(status: u16, about: &'static str, content: Content) -> Answer {
    Answer {
        status,
        about,
        content,
        says_when: false,
    }
}

/// Of a way in that is closed for the moment.
const fn later(status: u16, about: &'static str) -> Answer {
    Answer {
        says_when: true,
        ..answer(status, about, Content::Json(TURNED))
    }
}

const fn get(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    answers: &'static [Answer],
) -> Route {
    change(
        "get",
        path,
        (summary, parameters, Content::Nothing),
        answers,
    )
}

const fn change(
    method: &'static str,
    path: &'static str,
    (summary, parameters, body): (&'static str, &'static [Parameter], Content),
    answers: &'static [Answer],
) -> Route {
    Route {
        method,
        path,
        summary,
        parameters,
        body,
        answers,
    }
}

const MESH: Parameter = query("mesh", "boolean", "Of every node that answers.");
const HEALTH: &str = r#"{
    "type": "object", "required": ["status", "healthy", "total", "services"],
    "properties": {
        "status": { "type": "string",
                    "description": "healthy, degraded, unhealthy, without backends, or the node's state." },
        "healthy": { "type": "integer", "minimum": 0, "description": "Backends that get new work." },
        "total": { "type": "integer", "minimum": 0 },
        "services": { "type": "array", "items": {
            "type": "object", "required": ["name", "healthy", "total"],
            "properties": {
                "name": { "type": "string" },
                "healthy": { "type": "integer", "minimum": 0 },
                "total": { "type": "integer", "minimum": 0 }
            }
        } }
    }
}"#;
const BLOCKED: &str = r#"{
    "type": "object", "required": ["error", "code", "message", "recovery_eta_seconds", "can_retry", "should_wait"],
    "properties": {
        "error": { "type": "string" },
        "code": { "type": "string", "description": "For programs; stable." },
        "message": { "type": "string" },
        "recovery_eta_seconds": { "type": ["integer", "null"], "description": "null when nobody knows." },
        "can_retry": { "type": "boolean" },
        "should_wait": { "type": "boolean" },
        "field": { "type": "string", "description": "Of a value that is out of bounds." },
        "value": { "type": "string" },
        "bound": { "type": "string" }
    }
}"#;
const PURGE: &str = r#"{
    "type": "object", "description": "One of url, tag, prefix, host, value, value_prefix, all.",
    "properties": {
        "url": { "type": "string" }, "tag": { "type": "string" }, "prefix": { "type": "string" },
        "host": { "type": "string" }, "value": { "type": "string" }, "value_prefix": { "type": "string" },
        "all": { "type": "boolean" }, "namespace": { "type": "string" }, "soft": { "type": "boolean" },
        "wait": { "type": "string", "enum": ["", "local", "quorum", "all"] },
        "wait_ms": { "type": "integer", "minimum": 0 }
    }
}"#;
const TOPICS: &str = r#"{
    "type": "object", "required": ["topics"],
    "properties": { "topics": { "type": "array", "items": {
        "type": "object", "required": ["topic", "epoch", "offset", "floor", "kept_messages", "kept_bytes"],
        "properties": {
            "topic": { "type": "string" }, "epoch": { "type": "string" },
            "offset": { "type": "integer", "minimum": 0 }, "floor": { "type": "integer", "minimum": 0 },
            "kept_messages": { "type": "integer", "minimum": 0 }, "kept_bytes": { "type": "integer", "minimum": 0 }
        }
    } } }
}"#;
const TURNED: &str = r#"{
    "type": "object", "required": ["error", "message"],
    "properties": {
        "error": { "type": "string", "description": "For programs." },
        "message": { "type": "string", "description": "For people." },
        "alternative": { "type": "string",
                         "description": "HOST:PORT where another node is asked the same way, if this one goes." }
    }
}"#;
/// Who comes as a subscriber and is not let in for the moment.
const TOO_OFTEN: Answer = later(429, "Its address comes more often than it may.");
const NOT_NOW: Answer = later(
    503,
    "The node drains or stops while others take subscribers, or has as many as it may.",
);
/// Batches of messages, as the README tells them.
const BATCHES: &str = r#"{ "type": "object" }"#;
const BEARER: Parameter = header("authorization", "`Bearer` and the token in debug.token.");
const DEBUG: &str = r#"{ "type": "object" }"#;
const DEBUG_LIST: &str = r#"{ "type": "array", "items": { "type": "object" } }"#;
const DEBUG_REFUSED: &str = r#"{
    "type": "object", "required": ["error"], "properties": { "error": { "type": "string" } }
}"#;
/// How a subscriber comes.
const SUBSCRIBED: &[Parameter] = &[
    query("topic", "string", "As often as there are topics."),
    query("pattern", "string", "As often as there are patterns."),
    query("since", "string", "now, all, or the id of what came last."),
    query(
        "name",
        "string",
        "What the subscriber is called in presence.",
    ),
    query("token", "string", "What a token lets it do."),
    query("wait", "string", "How long a poll waits, such as 20s."),
    query("limit", "integer", "Messages of a poll."),
];

/// All there is. One line for a line of it, not for a word.
#[rustfmt::skip]
pub(super) const ROUTES: &[Route] = &[
    get("/api/status", "The node at a glance", &[], &[answer(200, "How it is.", Content::Message("Status"))]),
    get("/api/health", "Whether it wants new clients and every service has a backend", &[], &[
        answer(200, "It does.", Content::Json(HEALTH)),
        answer(503, "It does not.", Content::Json(HEALTH)),
    ]),
    get("/api/services", "Services with their backends", &[], &[
        answer(200, "All of them.", Content::Messages("Service")),
    ]),
    get("/api/overview", "Nodes at a glance, and how they were", &[
        query("mesh", "boolean", "All nodes that this one knows."),
        query("node", "string", "One other node; not together with mesh."),
        query("since", "integer", "History from this slot on, such as the last answer's history.next_slot."),
        query("samples", "integer", "Samples of each series, 1 to 3600; 0 for 3600."),
    ], &[
        answer(200, "The same for everybody who asks within the age of a status.", Content::Message("OverviewAnswer")),
        answer(304, "Nothing is new for who has this entity tag.", Content::Nothing),
    ]),
    get("/api/openapi.json", "This document", &[], &[
        answer(200, "OpenAPI 3.1.", Content::Json(r#"{ "type": "object" }"#)),
    ]),
    get("/api/events", "What happened", &[
        query("since", "string", "What next of an earlier list said."),
        query("kind", "string", "Kinds such as engine.up, and groups such as engine.*, with commas between."),
    ], &[answer(200, "The oldest first.", Content::Message("EventList"))]),
    get("/api/traces/{id}", "What a recent request did", &[
        path("id", "A trace's id, or what a client called its request."),
        query("local", "boolean", "Only what this node has."),
    ], &[answer(200, "Its spans.", Content::Message("Trace"))]),
    get("/api/logs", "What nodes wrote about themselves", &[
        query("since", "string", "How old lines may be, such as 10m."),
        query("level", "string", "At least as grave: trace, debug, info, warn, error."),
        query("grep", "string", "What a line must hold."),
        query("lines", "integer", "The newest so many."),
        MESH,
    ], &[answer(200, "The oldest first.", Content::Message("LogList"))]),
    get("/metrics", "Every metric of the node", &[
        header("accept", "application/openmetrics-text for OpenMetrics 1.0."),
    ], &[answer(200, "As Prometheus reads it.", Content::Other("text/plain"))]),
    get("/debug/profile/cpu", "What processors do for a while", &[
        BEARER,
        query("seconds", "integer", "1 to 600; telemetry.profile_duration without."),
        query("format", "string", "svg for a flame graph, pprof for its protobuf."),
    ], &[
        answer(200, "A flame graph, or as pprof reads it.", Content::Other("image/svg+xml")),
        answer(409, "Somebody profiles already.", Content::Json(DEBUG_REFUSED)),
    ]),
    get("/debug/heap", "Memory of the node", &[BEARER], &[
        answer(200, "By the kernel, and by the node's own bounds.", Content::Json(DEBUG)),
    ]),
    get("/debug/heap/profile", "Who allocates memory", &[
        BEARER,
        query("seconds", "integer", "1 to 600; without, all since the start (telemetry.heap_sample_interval)."),
        query("interval", "integer", "Bytes between two samples, 65536 to 1073741824; 524288 without."),
        query("format", "string", "svg for a flame graph, pprof for its protobuf."),
        query("show", "string", "What a flame graph is of: bytes in_use at the end, or all allocated."),
    ], &[
        answer(200, "A flame graph, or as pprof reads it.", Content::Other("image/svg+xml")),
        answer(409, "Somebody profiles already.", Content::Json(DEBUG_REFUSED)),
    ]),
    get("/debug/actors", "Actors, their mailboxes and waits", &[BEARER], &[
        answer(200, "By name.", Content::Json(DEBUG_LIST)),
    ]),
    get("/debug/tasks", "Runtimes", &[BEARER], &[
        answer(200, "The control thread, then each core.", Content::Json(DEBUG_LIST)),
    ]),
    get("/api/engines", "Engines", &[MESH], &[
        answer(200, "By id.", Content::Message("ListEnginesResponse")),
    ]),
    change("delete", "/api/engines/{id}", ("Stop an engine, whichever node runs it", &[
        path("id", "The engine."),
        query("now", "boolean", "Cuts what runs on it."),
    ], Content::Nothing), &[
        answer(202, "It stops.", Content::Json(
            r#"{ "type": "object", "required": ["stops"], "properties": { "stops": { "type": "string" } } }"#,
        )),
    ]),
    get("/api/engines/{id}/logs", "What an engine wrote", &[
        path("id", "The engine."),
        query("lines", "integer", "The last so many, 1 to 10000."),
    ], &[answer(200, "The oldest first.", Content::Json(
        r#"{ "type": "object", "required": ["lines"],
             "properties": { "lines": { "type": "array", "items": { "type": "string" } } } }"#,
    ))]),
    change("post", "/api/provision", ("One more engine of a service", &[], Content::Json(
        r#"{ "type": "object", "required": ["service"],
             "properties": { "service": { "type": "string" },
                             "key": { "type": "string", "description": "The same key is the same job." } } }"#,
    )), &[
        answer(202, "The job that starts it.", Content::Json(
            r#"{ "type": "object", "required": ["job_id", "already"],
                 "properties": { "job_id": { "type": "string" }, "already": { "type": "boolean" } } }"#,
        )),
        answer(400, "The body or the key makes no sense.", Content::Json(r#"{ "type": "object" }"#)),
        answer(404, "There is no such service.", Content::Json(BLOCKED)),
        answer(503, "Nothing is started now.", Content::Json(BLOCKED)),
    ]),
    get("/api/provisioning", "Whether engines can be started here", &[], &[
        answer(200, "And how many each service has.", Content::Message("Provisioning")),
    ]),
    get("/api/ports", "Ports that VPNs forward", &[], &[
        answer(200, "By VPN.", Content::Message("ListPortsResponse")),
    ]),
    get("/api/ports/{vpn}", "The port of one VPN", &[path("vpn", "The VPN.")], &[
        answer(200, "What is known, or what its control server answers.", Content::Message("VpnPort")),
    ]),
    change("post", "/api/ports/{vpn}", ("Forget a port and ask for it anew", &[
        path("vpn", "The VPN."),
    ], Content::Nothing), &[answer(202, "It is asked for.", Content::Message("VpnPort"))]),
    get("/api/cache", "What is kept of answers", &[], &[
        answer(200, "On this node.", Content::Message("CacheStats")),
    ]),
    change("post", "/api/cache/purge", ("Make answers invalid on every node", &[], Content::Json(PURGE)), &[
        answer(200, "Which nodes have it.", Content::Message("PurgeResponse")),
    ]),
    get("/api/cache/values/{*key}", "A value that an application put", &[
        path("key", "The rest of the path."),
        query("namespace", "string", "Of its values."),
        header("if-none-match", "The entity tag of what is known."),
    ], &[
        answer(200, "The value.", Content::Other("application/octet-stream")),
        answer(304, "It is the one that is known.", Content::Nothing),
    ]),
    change("put", "/api/cache/values/{*key}", ("Keep a value", &[
        path("key", "The rest of the path."),
        query("namespace", "string", "Of its values."),
        query("ttl", "string", "How long, such as 5m."),
        query("tags", "string", "With commas between."),
        header("if-match", "Only in place of this version."),
        header("if-none-match", "*: only if there is none."),
    ], Content::Other("application/octet-stream")), &[answer(204, "It is kept.", Content::Nothing)]),
    change("post", "/api/cache/warm", ("Fetch what will be asked for", &[], Content::Json(
        r#"{ "type": "object", "properties": { "urls": { "type": "array", "items": { "type": "string" } },
                                               "hot": { "type": "boolean" } } }"#,
    )), &[answer(200, "When all is done: total, and the results.", Content::Within("results", "WarmResult"))]),
    get("/ws", "Messages over a WebSocket", SUBSCRIBED, &[
        answer(101, "Both ways from now on.", Content::Nothing), TOO_OFTEN, NOT_NOW,
    ]),
    get("/sse", "Messages as an event stream", SUBSCRIBED, &[
        answer(200, "As they come.", Content::Other("text/event-stream")), TOO_OFTEN, NOT_NOW,
    ]),
    get("/poll", "Messages, as soon as there are some", SUBSCRIBED, &[
        answer(200, "Those that came.", Content::Json(BATCHES)), TOO_OFTEN, NOT_NOW,
    ]),
    get("/api/topics", "Topics", &[], &[answer(200, "By name.", Content::Json(TOPICS))]),
    change("post", "/api/topics/{topic}", ("Publish a message", &[
        path("topic", "Where."),
        query("class", "string", "critical, stream, latest or ephemeral."),
        query("key", "string", "What newer ones of this key replace."),
        query("idempotency_key", "string", "The same key is the same message."),
        query("ack", "string", "owner, none or replicated."),
        query("token", "string", "What a token lets it do."),
    ], Content::Other("*/*")), &[
        answer(200, "Where it is.", Content::Json(BATCHES)),
        later(429, "The publisher publishes more often than it may."),
        later(503, "The node has as many topics as it may, or the one that numbers the topic does not answer."),
    ]),
    get("/api/topics/{topic}", "What is kept of a topic", &[
        path("topic", "Which."),
        query("since", "string", "all, or the id of what is known."),
        query("limit", "integer", "Messages."),
    ], &[
        answer(200, "The oldest first.", Content::Json(BATCHES)), TOO_OFTEN,
        later(503, "The node has as many subscribers as it may."),
    ]),
    get("/api/topics/{topic}/presence", "Who listens to a topic", &[path("topic", "Which.")], &[
        answer(200, "By node.", Content::Message("PresenceResponse")),
    ]),
    get("/api/connections", "Subscribers", &[
        query("by", "string", "lag."),
        query("limit", "integer", "1 to 10000."),
    ], &[answer(200, "Those that are behind most first.", Content::Within("connections", "BroadcastConnection"))]),
    change("delete", "/api/connections/{id}", ("End a subscriber's connection", &[
        path("id", "As it is listed."),
    ], Content::Nothing), &[answer(204, "It is ended.", Content::Nothing)]),
];
