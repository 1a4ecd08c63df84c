//! The columns of a plan's records, for formats that have columns.

use shared::table::{Delimited, PageInput, Subject, Table};

use crate::kinds;
use crate::plan::{Input, Plan};
use crate::source::TargetKind;

/// The columns of the records of `plan`.
#[must_use]
pub(crate) fn table(plan: &Plan) -> Table {
    let page = |input| Subject::Page {
        input,
        fields: &plan.fields,
        each: plan.each.as_ref(),
        presets: &plan.presets,
        headers: kinds::keeps_headers(&plan.work),
        crawled: kinds::of(&plan.work).rules().crawls,
        mapped: plan.then.is_some(),
        paged: kinds::next(&plan.work).is_some(),
    };
    let subject = match kinds::of(&plan.work).rules().target {
        TargetKind::Url if kinds::saved(&plan.work).is_some() => page(PageInput::SavedUrl),
        TargetKind::Url => page(PageInput::Url),
        TargetKind::Path => page(PageInput::Path),
        TargetKind::Lines => Subject::Line,
    };
    Table::of(subject, &kept(&plan.inputs))
}

/// How the records of `plan` are written as rows of text, if they are.
#[must_use]
pub(crate) fn delimited(plan: &Plan) -> Option<Delimited> {
    plan.format.delimiter().map(|delimiter| Delimited { delimiter, table: table(plan) })
}

/// The names of the values carried along, over all inputs, each once.
fn kept(inputs: &[Input]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for input in inputs {
        let keep: &[String] = match input {
            Input::CsvColumn(_, columns)
            | Input::JsonColumn(_, columns)
            | Input::ParquetColumn(_, columns) => &columns.keep,
            Input::Sitemaps(sitemaps) => &sitemaps.keep,
            Input::Literal(_) | Input::Lines(_) | Input::StdinLines | Input::Tree(_) => &[],
        };
        for name in keep {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}
