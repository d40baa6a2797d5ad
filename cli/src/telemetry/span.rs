//! Spans, and how OTLP writes them in JSON: IDs as hexadecimal digits, 64-bit numbers as texts.

use std::hash::{BuildHasher, RandomState};

use serde_json::{Value, json};

/// Which span: what others refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    trace: u128,
    span: u64,
}

impl Context {
    /// The first span of a trace, or the next one of its parent's.
    pub(crate) fn below(parent: Option<Self>) -> Self {
        Self {
            trace: parent.map_or_else(
                || u128::from(random()) << 64 | u128::from(random()),
                |parent| parent.trace,
            ),
            span: random(),
        }
    }

    /// A `traceparent` of W3C Trace Context; `None`: it is none, and is left alone.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
        let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fits = version.len() == 2
            && version != "ff"
            && (trace.len(), span.len()) == (32, 16)
            && hexadecimal(trace)
            && hexadecimal(span);
        let trace = u128::from_str_radix(trace, 16).ok()?;
        let span = u64::from_str_radix(span, 16).ok()?;
        (fits && trace != 0 && span != 0).then_some(Self { trace, span })
    }

    /// The same for a process that is started.
    pub(crate) fn traceparent(self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

/// A number that nobody else has, never 0. The hasher's keys come from the machine's randomness.
fn random() -> u64 {
    RandomState::new().hash_one("span").max(1)
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attribute {
    Text(String),
    Number(i64),
    Truth(bool),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Attribute {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

/// Attributes in their order.
pub(crate) type Attributes = Vec<(&'static str, Attribute)>;

/// Attributes as OTLP writes them.
pub(crate) fn attributes_json(attributes: &[(&'static str, Attribute)]) -> Value {
    let pairs = attributes.iter().map(|(key, value)| {
        let value = match value {
            Attribute::Text(text) => json!({"stringValue": text}),
            Attribute::Number(number) => json!({"intValue": number.to_string()}),
            Attribute::Truth(truth) => json!({"boolValue": truth}),
        };
        json!({"key": key, "value": value})
    });
    Value::Array(pairs.collect())
}

/// A time as OTLP writes it.
pub(crate) fn nanos(micros: i64) -> String {
    (i128::from(micros.max(0)) * 1000).to_string()
}

/// Something that happened within a span.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) at_micros: i64,
    pub(crate) attributes: Attributes,
}

/// Something that took time, and is over.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) context: Context,
    pub(crate) parent: Option<Context>,
    /// A span of another trace that it belongs to.
    pub(crate) link: Option<Context>,
    pub(crate) name: &'static str,
    pub(crate) start_micros: i64,
    pub(crate) end_micros: i64,
    pub(crate) attributes: Attributes,
    pub(crate) events: Vec<Event>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

impl Span {
    /// A span that went well, without anything but its times.
    pub(crate) fn new(
        name: &'static str,
        parent: Option<Context>,
        start_micros: i64,
        end_micros: i64,
    ) -> Self {
        Self {
            context: Context::below(parent),
            parent,
            link: None,
            name,
            start_micros,
            end_micros: end_micros.max(start_micros),
            attributes: Vec::new(),
            events: Vec::new(),
            error: None,
        }
    }

    /// As OTLP writes it.
    pub(crate) fn json(&self) -> Value {
        // Kind 1 is internal, status 1 is well and 2 is an error.
        let mut span = json!({
            "traceId": format!("{:032x}", self.context.trace),
            "spanId": format!("{:016x}", self.context.span),
            "name": self.name,
            "kind": 1,
            "startTimeUnixNano": nanos(self.start_micros),
            "endTimeUnixNano": nanos(self.end_micros),
            "attributes": attributes_json(&self.attributes),
            "status": match &self.error {
                Some(message) => json!({"code": 2, "message": message}),
                None => json!({"code": 1}),
            },
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = format!("{:016x}", parent.span).into();
        }
        if let Some(link) = self.link {
            span["links"] = json!([{
                "traceId": format!("{:032x}", link.trace),
                "spanId": format!("{:016x}", link.span),
            }]);
        }
        if !self.events.is_empty() {
            let events = self.events.iter().map(|event| {
                json!({
                    "name": event.name,
                    "timeUnixNano": nanos(event.at_micros),
                    "attributes": attributes_json(&event.attributes),
                })
            });
            span["events"] = Value::Array(events.collect());
        }
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_goes_to_a_child_and_comes_back() {
        let context = Context::below(None);
        assert_eq!(Context::parse(&context.traceparent()), Some(context));
        let child = Context::below(Some(context));
        assert_eq!(child.trace, context.trace);
        assert_ne!(child.span, context.span);
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Context::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_span_is_written_as_otlp_has_it() {
        let parent = Context {
            trace: 0xab,
            span: 0xcd,
        };
        let mut span = Span::new("weir.checkpoint", Some(parent), 1_000_000, 2_500_000);
        span.context.span = 0xef;
        span.attributes.push(("weir.rows", u64::MAX.into()));
        span.error = Some("no room".to_owned());
        assert_eq!(
            span.json(),
            json!({
                "traceId": "000000000000000000000000000000ab",
                "spanId": "00000000000000ef",
                "parentSpanId": "00000000000000cd",
                "name": "weir.checkpoint",
                "kind": 1,
                "startTimeUnixNano": "1000000000",
                "endTimeUnixNano": "2500000000",
                "attributes": [{"key": "weir.rows", "value": {"intValue": "9223372036854775807"}}],
                "status": {"code": 2, "message": "no room"},
            })
        );
    }
}
