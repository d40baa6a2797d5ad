//! A plan as a drawing: DOT for Graphviz, Mermaid for pages.

use weir_planner::plan::{Operator, Partitioning, StreamPlan};

/// The plan for `dot -Tsvg`.
pub(crate) fn dot(plan: &StreamPlan) -> String {
    let mut text =
        "digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"monospace\"];\n".to_owned();
    for (at, operator) in plan.operators.iter().enumerate() {
        let label = label(operator).replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&format!(
            "  n{at} [label=\"{}\"];\n",
            label.replace('\n', "\\n")
        ));
    }
    for (at, operator) in plan.operators.iter().enumerate() {
        for input in &operator.inputs {
            let moved = moves(&input.partitioning);
            let style = if moved {
                " [style=bold, label=\"by key\"]"
            } else {
                ""
            };
            text.push_str(&format!("  n{} -> n{at}{style};\n", input.from));
        }
    }
    text.push_str("}\n");
    text
}

/// The plan as Mermaid draws it.
pub(crate) fn mermaid(plan: &StreamPlan) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (at, operator) in plan.operators.iter().enumerate() {
        let label = label(operator)
            .replace('"', "#quot;")
            .replace('\n', "<br/>");
        text.push_str(&format!("  n{at}[\"{label}\"]\n"));
    }
    for (at, operator) in plan.operators.iter().enumerate() {
        for input in &operator.inputs {
            let arrow = if moves(&input.partitioning) {
                "==>|by key|"
            } else {
                "-->"
            };
            text.push_str(&format!("  n{} {arrow} n{at}\n", input.from));
        }
    }
    text
}

/// Its ID, and the tables that it keeps.
fn label(operator: &Operator) -> String {
    let tables: Vec<&str> = operator
        .state
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    if tables.is_empty() {
        operator.id.to_string()
    } else {
        format!("{}\nkeeps {}", operator.id, tables.join(", "))
    }
}

/// Whether rows go to another worker.
fn moves(partitioning: &Partitioning) -> bool {
    !matches!(partitioning, Partitioning::Forward)
}
