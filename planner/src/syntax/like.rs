//! `CREATE TABLE … LIKE base (INCLUDING … EXCLUDING … OVERWRITING …)`: what is taken over from a table declared before.
//!
//! | feature | INCLUDING | EXCLUDING | OVERWRITING |
//! |---|---|---|---|
//! | CONSTRAINTS (the key), PARTITIONS | unless declared here too | nothing | – |
//! | OPTIONS (the default is OVERWRITING), GENERATED, METADATA, WATERMARKS | no name twice | nothing | what is declared here wins |
//!
//! Physical columns are always taken over, before those that are declared here.

use std::collections::BTreeMap;

use weir_types::{Diagnostic, Diagnostics};

use super::cursor::Cursor;
use super::ddl::declared_twice;
use super::{ColumnDefinition, ColumnKind, CreateTable, Name, table};
use crate::codes;

/// What a LIKE clause says.
#[derive(Clone, Debug)]
pub struct Like {
    /// The table that is taken as a pattern.
    pub base: Name,
    rules: BTreeMap<Feature, Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Feature {
    Constraints,
    Partitions,
    Generated,
    Metadata,
    Options,
    Watermarks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Including,
    Excluding,
    Overwriting,
}

const FEATURES: [(&str, Feature); 6] = [
    ("CONSTRAINTS", Feature::Constraints),
    ("PARTITIONS", Feature::Partitions),
    ("GENERATED", Feature::Generated),
    ("METADATA", Feature::Metadata),
    ("OPTIONS", Feature::Options),
    ("WATERMARKS", Feature::Watermarks),
];

/// What follows LIKE.
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Like, Diagnostic> {
    let base = cursor.object_name("the name of a table")?;
    let mut rules: BTreeMap<Feature, Rule> = FEATURES
        .into_iter()
        .map(|(_, feature)| (feature, Rule::Including))
        .collect();
    rules.insert(Feature::Options, Rule::Overwriting);
    let parenthesized = cursor.take(&sqlparser::tokenizer::Token::LParen);
    loop {
        let start = cursor.span();
        let rule = [
            ("INCLUDING", Rule::Including),
            ("EXCLUDING", Rule::Excluding),
            ("OVERWRITING", Rule::Overwriting),
        ]
        .into_iter()
        .find(|(word, _)| cursor.take_keyword(word));
        let Some((word, rule)) = rule else { break };
        if rule != Rule::Overwriting && cursor.take_keyword("ALL") {
            rules.values_mut().for_each(|known| *known = rule);
            continue;
        }
        let feature = FEATURES
            .into_iter()
            .find(|(word, _)| cursor.take_keyword(word));
        let Some((name, feature)) = feature else {
            return Err(cursor.expected(
                "ALL, CONSTRAINTS, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS",
            ));
        };
        if rule == Rule::Overwriting
            && matches!(feature, Feature::Constraints | Feature::Partitions)
        {
            return Err(Diagnostic::error(
                codes::TABLE_FORM,
                format!("{word} {name} is not possible"),
            )
            .at(
                start.union(cursor.last_span()),
                "a table has one key and one partitioning",
            )
            .help(format!("write EXCLUDING {name}, and declare your own")));
        }
        rules.insert(feature, rule);
    }
    if parenthesized {
        cursor.expect(&sqlparser::tokenizer::Token::RParen)?;
    }
    Ok(Like { base, rules })
}

impl Like {
    fn rule(&self, feature: Feature) -> Rule {
        self.rules.get(&feature).copied().unwrap_or(Rule::Including)
    }

    /// The table with what it takes over from `base`.
    pub(crate) fn complete(
        &self,
        mut own: CreateTable,
        base: &CreateTable,
    ) -> Result<CreateTable, Diagnostics> {
        own.columns = self.columns(&own, base)?;
        if let Some(watermark) = &base.watermark {
            match (self.rule(Feature::Watermarks), &own.watermark) {
                (Rule::Excluding, _) | (Rule::Overwriting, Some(_)) => {}
                (Rule::Including, Some((_, _, span))) => {
                    return Err(twice("the watermark", *span, "WATERMARKS").into());
                }
                (_, None) => own.watermark = Some(watermark.clone()),
            }
        }
        if self.rule(Feature::Constraints) == Rule::Including && !base.primary_key.is_empty() {
            if let Some(first) = own.primary_key.first() {
                return Err(twice("the primary key", first.span, "CONSTRAINTS").into());
            }
            own.primary_key = base.primary_key.clone();
        }
        if self.rule(Feature::Partitions) == Rule::Including && !base.partitioned_by.is_empty() {
            if let Some(first) = own.partitioned_by.first() {
                return Err(twice("PARTITIONED BY", first.span, "PARTITIONS").into());
            }
            own.partitioned_by = base.partitioned_by.clone();
        }
        let rule = self.rule(Feature::Options);
        if rule != Rule::Excluding {
            for option in &base.options {
                match own.options.iter().find(|known| known.key == option.key) {
                    Some(known) if rule == Rule::Including => {
                        let what = format!("the option '{}'", known.key);
                        return Err(twice(&what, known.span, "OPTIONS").into());
                    }
                    Some(_) => {}
                    None => own.options.push(option.clone()),
                }
            }
        }
        own.like = None;
        table::checked(own, Vec::new())
    }

    fn columns(
        &self,
        own: &CreateTable,
        base: &CreateTable,
    ) -> Result<Vec<ColumnDefinition>, Diagnostics> {
        let mut columns = Vec::with_capacity(base.columns.len() + own.columns.len());
        for column in &base.columns {
            let rule = match column.kind {
                ColumnKind::Physical(_) => Rule::Including,
                ColumnKind::Computed(_) => self.rule(Feature::Generated),
                ColumnKind::Metadata { .. } => self.rule(Feature::Metadata),
            };
            let mine = own
                .columns
                .iter()
                .find(|mine| mine.name.value == column.name.value);
            match (rule, mine) {
                (Rule::Excluding, _) | (Rule::Overwriting, Some(_)) => {}
                (Rule::Including, Some(mine)) => {
                    let what = format!("the column `{}`", mine.name.spelling);
                    return Err(declared_twice(&what, mine.name.span)
                        .help(format!("`{}` has it already", base.name.spelling))
                        .into());
                }
                (_, None) => columns.push(column.clone()),
            }
        }
        columns.extend(own.columns.iter().cloned());
        Ok(columns)
    }
}

fn twice(what: &str, span: weir_types::Span, feature: &str) -> Diagnostic {
    declared_twice(what, span).help(format!(
        "the table after LIKE has one too: write EXCLUDING {feature}"
    ))
}
