//! Functions of the user's: every call is replaced by the function's expression before anything is bound.
//!
//! ```text
//!   CREATE FUNCTION net (x DOUBLE) RETURNS DOUBLE RETURN x * 0.8
//!   net(price + 1)  ─▶  CAST((CAST((price + 1) AS DOUBLE) * 0.8) AS DOUBLE)
//! ```
//!
//! # Invariants
//! 1. A function calls those before it in the text alone, so that replacing ends.
//! 2. No statement grows beyond [`PARTS_MAX`] by it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments};
use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::library::Library;
use crate::syntax::{ColumnKind, CreateFunction, Name, Statement, of_type, span_of};

/// Parts that an expression has at most when its functions are replaced.
const PARTS_MAX: usize = 20_000;

/// The functions that a text has declared so far.
#[derive(Debug, Default)]
pub(crate) struct UserFunctions {
    by_name: BTreeMap<String, CreateFunction>,
}

impl UserFunctions {
    /// The names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Forgets a function; whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// Takes a function in, its own calls replaced.
    pub(crate) fn declare(&mut self, function: &CreateFunction) -> Vec<Diagnostic> {
        let name = &function.name;
        let library = Library::get();
        let taken = library.scalar(&name.value).is_some()
            || library.aggregate(&name.value).is_some()
            || library.is_window_function(&name.value);
        if taken || self.by_name.contains_key(&name.value) {
            let message = format!("there is a function `{}` already", name.spelling);
            return vec![
                Diagnostic::error(codes::DUPLICATE_NAME, message)
                    .at(name.span, "the second of that name")
                    .help("give it another name"),
            ];
        }
        let mut function = function.clone();
        let mut problems = self.expand(&mut function.body);
        problems.extend(foreign_names(&function));
        if problems.is_empty() {
            self.by_name.insert(name.value.clone(), function);
        }
        problems
    }

    /// Replaces the calls in a statement.
    pub(crate) fn expand_statement(&self, statement: &mut Statement) -> Vec<Diagnostic> {
        if self.by_name.is_empty() {
            return Vec::new();
        }
        match statement {
            Statement::CreateTable(table) => {
                let mut problems = Vec::new();
                for column in &mut table.columns {
                    if let ColumnKind::Computed(expr) = &mut column.kind {
                        problems.extend(self.expand(expr));
                    }
                }
                if let Some((_, expr, _)) = &mut table.watermark {
                    problems.extend(self.expand(expr));
                }
                if let Some(query) = &mut table.query {
                    problems.extend(self.expand(query.as_mut()));
                }
                problems
            }
            Statement::CreateView { query, .. }
            | Statement::Insert { query, .. }
            | Statement::Select { query, .. } => self.expand(query.as_mut()),
            Statement::Explain { statement, .. } => self.expand_statement(statement),
            _ => Vec::new(),
        }
    }

    fn expand<V: ast::VisitMut>(&self, node: &mut V) -> Vec<Diagnostic> {
        let (mut problems, mut parts) = (Vec::new(), 0usize);
        // Arguments are visited before the call, so that a call within a call is replaced first.
        let _ = ast::visit_expressions_mut(node, |expr| {
            parts += 1;
            if let Expr::Function(call) = expr
                && let Ok(name) = Name::from_object(&call.name)
                && let Some(function) = self.by_name.get(&name.value)
            {
                match inlined(function, call, &name) {
                    Ok(inlined) => *expr = inlined,
                    Err(problem) => problems.push(problem),
                }
                parts += size(expr);
            }
            if parts > PARTS_MAX {
                problems.push(too_big(span_of(expr)));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        problems
    }
}

/// The function's expression over the arguments of a call.
fn inlined(
    function: &CreateFunction,
    call: &ast::Function,
    name: &Name,
) -> Result<Expr, Diagnostic> {
    let misfit = |message: String, help: String| {
        Err(Diagnostic::error(codes::FUNCTION_FORM, message)
            .at(span_of(call), "this call")
            .help(help))
    };
    let plain = call.filter.is_none()
        && call.over.is_none()
        && call.null_treatment.is_none()
        && call.within_group.is_empty()
        && matches!(call.parameters, FunctionArguments::None);
    let list = match &call.args {
        FunctionArguments::List(list)
            if plain && list.clauses.is_empty() && list.duplicate_treatment.is_none() =>
        {
            list.args.as_slice()
        }
        FunctionArguments::None if plain => &[],
        _ => {
            return misfit(
                format!("`{}` is a function of one row's values", name.spelling),
                "DISTINCT, FILTER, OVER and the like belong to aggregates".to_owned(),
            );
        }
    };
    let arguments: Vec<&Expr> = list
        .iter()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect();
    let wanted = function.parameters.len();
    if arguments.len() != list.len() || arguments.len() != wanted {
        let parameters: Vec<&str> = function
            .parameters
            .iter()
            .map(|parameter| parameter.name.spelling.as_str())
            .collect();
        return misfit(
            format!(
                "`{}` takes {}",
                name.spelling,
                crate::binder::counted(wanted, "value")
            ),
            format!("write {}({})", name.spelling, parameters.join(", ")),
        );
    }
    let mut body = function.body.clone();
    let _ = ast::visit_expressions_mut(&mut body, |expr| {
        if let Expr::Identifier(ident) = expr {
            let used = Name::from_ident(ident);
            let place = function
                .parameters
                .iter()
                .position(|parameter| parameter.name.value == used.value);
            if let Some(place) = place {
                *expr = of_type(&function.parameters[place].cast, arguments[place].clone());
            }
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(Expr::Nested(Box::new(body)))
}

/// What a function's expression names that is none of its parameters.
fn foreign_names(function: &CreateFunction) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut body = function.body.clone();
    let _ = ast::visit_expressions_mut(&mut body, |expr| {
        let name = match expr {
            Expr::Identifier(ident) => Name::from_ident(ident),
            Expr::CompoundIdentifier(parts) => match parts.first() {
                Some(first) => Name::from_ident(first),
                None => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::<()>::Continue(()),
        };
        let parameters = function
            .parameters
            .iter()
            .map(|known| known.name.value.as_str());
        let is_compound = matches!(expr, Expr::CompoundIdentifier(_));
        if is_compound || !parameters.clone().any(|known| known == name.value) {
            let message = format!("no parameter `{}`", name.spelling);
            let diagnostic = Diagnostic::error(codes::UNKNOWN_COLUMN, message)
                .at(name.span, "a function sees its parameters alone");
            problems.push(if is_compound {
                diagnostic.help("a field of a parameter is written (parameter).field")
            } else {
                diagnostic.nearest(crate::settings::nearest(&name.value, parameters))
            });
        }
        ControlFlow::Continue(())
    });
    problems
}

fn size(expr: &Expr) -> usize {
    let mut parts = 0;
    let _ = ast::visit_expressions(expr, |_| {
        parts += 1;
        ControlFlow::<()>::Continue(())
    });
    parts
}

fn too_big(span: Span) -> Diagnostic {
    Diagnostic::error(
        codes::TOO_DEEP,
        "with its functions replaced this is too big",
    )
    .at(span, format!("more than {PARTS_MAX} parts"))
    .help("compute a part of it in a view")
}
