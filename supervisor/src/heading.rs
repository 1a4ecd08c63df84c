//! The first bytes of an output, and the encoding of the records behind them: a web archive begins with a record about
//! its writer, a table with the names of its columns.

use shared::job::RecordEncoding;
use shared::table::Typed;

use crate::archive;
use crate::columns;
use crate::format::Format;
use crate::plan::Plan;
use crate::sink::{Outlet, SinkError};

/// Returns the encoding of the records of `plan`. Writes what stands before them into an outlet that is empty;
/// continues one that is not.
///
/// # Errors
/// When it cannot be written, or when the outlet begins with something else.
pub(crate) fn begin(plan: &Plan, outlet: &mut Outlet) -> Result<RecordEncoding, SinkError> {
    if let Format::Warc { gzip } = plan.format {
        return archive::begin(plan, gzip, outlet).map(RecordEncoding::Warc);
    }
    if plan.format.is_whole() {
        return Ok(RecordEncoding::Typed(Typed { table: columns::table(plan) }));
    }
    let Some(rows) = columns::delimited(plan) else { return Ok(RecordEncoding::JsonLine) };
    // The files of a directory have a header each.
    if !plan.is_derived() && outlet.committed_len() == 0 {
        let mut header = Vec::new();
        rows.header(&mut header);
        outlet.write(&header)?;
    }
    Ok(RecordEncoding::Row(rows))
}
