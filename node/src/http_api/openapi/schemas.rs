//! JSON schemas of messages, made of the descriptors that reflection serves.
//!
//! What a message is as JSON is decided by its `serde` form in `weir-proto`: fields under their own names, none left
//! out, an enum as its number but for those in [`AS_TEXT`], what is absent as `null`.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use serde_json::{Map, Value, json};
use weir_proto::node::v1::Standing;

/// Messages whose names are told without their package.
const PACKAGE: &str = ".weir.node.v1.";
/// Fields of `weir-proto` and of the API that are not told as their type says.
const AS_TEXT: [(&str, &str, Told); 4] = [
    (".weir.node.v1.Backend", "standing", Told::Standing),
    (".weir.node.v1.BackendOnNode", "standing", Told::Standing),
    (".weir.node.v1.Series", "values", Told::Number),
    (".weir.node.v1.BroadcastConnection", "id", Told::Text),
];
/// Places in a descriptor, as comments name them.
const MESSAGES_OF_FILE: i32 = 4;
const FIELDS_OF_MESSAGE: i32 = 2;
const MESSAGES_OF_MESSAGE: i32 = 3;

#[derive(Clone, Copy)]
enum Told {
    Standing,
    Number,
    Text,
}

impl Told {
    fn schema(self) -> Value {
        match self {
            Self::Standing => {
                let standings = (0..).map_while(|number| Standing::try_from(number).ok());
                let words: Vec<&str> = standings.map(Standing::as_text).collect();
                json!({ "type": "string", "enum": words })
            }
            Self::Number => json!({
                "type": "array",
                "items": { "type": ["integer", "null"] },
            }),
            Self::Text => json!({ "type": "string" }),
        }
    }
}

/// Every message by its full name.
pub(super) struct Messages(BTreeMap<String, Message>);

struct Message {
    descriptor: DescriptorProto,
    about: String,
    /// By field.
    comments: BTreeMap<usize, String>,
}

impl Messages {
    /// Those of a descriptor set.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn of(encoded: &[u8]) -> Result<Self, prost::DecodeError> {
        let set: prost_types::FileDescriptorSet = prost::Message::decode(encoded)?;
        let mut messages = BTreeMap::new();
        for file in &set.file {
            let comments = comments(file);
            let package = format!(".{}", file.package());
            for (at, message) in (0..).zip(&file.message_type) {
                let path = vec![MESSAGES_OF_FILE, at];
                add(&mut messages, &comments, (&package, path), message);
            }
        }
        Ok(Self(messages))
    }

    /// Schemas of these messages and of all that are in them, by the names that [`reference`] gives them.
    pub(super) fn schemas<'a>(&self, roots: impl Iterator<Item = &'a str>) -> Map<String, Value> {
        let mut wanted: Vec<String> = roots.map(|name| format!("{PACKAGE}{name}")).collect();
        let mut seen: BTreeSet<String> = wanted.iter().cloned().collect();
        let mut schemas = Map::new();
        while let Some(name) = wanted.pop() {
            let Some(message) = self.0.get(&name) else {
                continue;
            };
            let mut within = Vec::new();
            schemas.insert(short(&name), self.schema(&name, message, &mut within));
            wanted.extend(within.into_iter().filter(|name| seen.insert(name.clone())));
        }
        schemas
    }

    fn schema(&self, name: &str, message: &Message, within: &mut Vec<String>) -> Value {
        let mut properties = Map::new();
        for (at, field) in message.descriptor.field.iter().enumerate() {
            let is_variant = field.oneof_index.is_some() && !field.proto3_optional();
            if is_variant {
                continue;
            }
            let special = AS_TEXT
                .iter()
                .find(|(of, named, _)| *of == name && *named == field.name());
            let mut schema = match special {
                Some((_, _, told)) => told.schema(),
                None => self.of_field(field, within),
            };
            if let Some(comment) = message.comments.get(&at) {
                schema["description"] = comment.clone().into();
            }
            properties.insert(field.name().to_owned(), schema);
        }
        self.add_oneofs(message, &mut properties, within);
        let required: Vec<&String> = properties.keys().collect();
        let mut schema = json!({ "type": "object", "required": required });
        if !message.about.is_empty() {
            schema["description"] = message.about.clone().into();
        }
        schema["properties"] = Value::Object(properties);
        schema
    }

    /// Of each group of fields one is told, under its name in Rust, or `null`.
    fn add_oneofs(
        &self,
        message: &Message,
        properties: &mut Map<String, Value>,
        within: &mut Vec<String>,
    ) {
        for (at, group) in (0..).zip(&message.descriptor.oneof_decl) {
            let fields = message.descriptor.field.iter();
            let fields =
                fields.filter(|field| field.oneof_index == Some(at) && !field.proto3_optional());
            let variants: Vec<Value> = fields
                .map(|field| {
                    let name = camel(field.name());
                    let value = self.single(field, within);
                    json!({ "type": "object", "required": [name], "properties": { name: value } })
                })
                .collect();
            if !variants.is_empty() {
                let any = variants.into_iter().chain([json!({ "type": "null" })]);
                let any: Vec<Value> = any.collect();
                properties.insert(group.name().to_owned(), json!({ "anyOf": any }));
            }
        }
    }

    fn of_field(&self, field: &FieldDescriptorProto, within: &mut Vec<String>) -> Value {
        if field.label() == Label::Repeated {
            if let Some(entry) = self.map_entry(field) {
                let value = self.single(&entry.descriptor.field[1], within);
                return json!({ "type": "object", "additionalProperties": value });
            }
            return json!({ "type": "array", "items": self.single(field, within) });
        }
        let single = self.single(field, within);
        match field.r#type() {
            Type::Message => json!({ "anyOf": [single, { "type": "null" }] }),
            _ if field.proto3_optional() => json!({ "anyOf": [single, { "type": "null" }] }),
            _ => single,
        }
    }

    fn map_entry(&self, field: &FieldDescriptorProto) -> Option<&Message> {
        let entry = self.0.get(field.type_name())?;
        let options = entry.descriptor.options.as_ref();
        options
            .is_some_and(|options| options.map_entry())
            .then_some(entry)
    }

    fn single(&self, field: &FieldDescriptorProto, within: &mut Vec<String>) -> Value {
        match field.r#type() {
            Type::Message | Type::Group => {
                within.push(field.type_name().to_owned());
                reference(field.type_name())
            }
            Type::Double | Type::Float => json!({ "type": "number" }),
            Type::Bool => json!({ "type": "boolean" }),
            Type::String => json!({ "type": "string" }),
            Type::Bytes => json!({ "type": "array", "items": { "type": "integer" } }),
            Type::Uint32 | Type::Uint64 | Type::Fixed32 | Type::Fixed64 => {
                json!({ "type": "integer", "minimum": 0 })
            }
            _ => json!({ "type": "integer" }),
        }
    }
}

fn add(
    messages: &mut BTreeMap<String, Message>,
    comments: &BTreeMap<&[i32], String>,
    (within, path): (&str, Vec<i32>),
    message: &DescriptorProto,
) {
    let name = format!("{within}.{}", message.name());
    let at = |more: &[i32]| comments.get(&*[&path, more].concat()).cloned();
    let fields = (0..).zip(0..message.field.len());
    let fields =
        fields.filter_map(|(place, field)| Some((field, at(&[FIELDS_OF_MESSAGE, place])?)));
    let found = Message {
        descriptor: message.clone(),
        about: at(&[]).unwrap_or_default(),
        comments: fields.collect(),
    };
    for (place, nested) in (0..).zip(&message.nested_type) {
        let path = [&*path, &[MESSAGES_OF_MESSAGE, place]].concat();
        add(messages, comments, (&name, path), nested);
    }
    messages.insert(name, found);
}

/// What is written above things of a file, by where they are.
fn comments(file: &FileDescriptorProto) -> BTreeMap<&[i32], String> {
    let info = file.source_code_info.iter();
    let places = info.flat_map(|info| &info.location);
    let comments = places.filter_map(|place| {
        let lines = place.leading_comments.as_ref()?.lines().map(str::trim);
        Some((
            &*place.path,
            lines.collect::<Vec<_>>().join(" ").trim().to_owned(),
        ))
    });
    comments.collect()
}

/// The name of a message's schema.
fn short(name: &str) -> String {
    name.strip_prefix(PACKAGE)
        .unwrap_or_else(|| name.trim_start_matches('.'))
        .to_owned()
}

/// Points at the schema of a message, whose name may be without its package.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", short(name)) })
}

fn camel(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect()
}
