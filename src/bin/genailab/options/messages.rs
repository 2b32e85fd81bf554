//! What commands print: results on stdout, remarks on stderr.

use genailab::{
    Error, Result,
    data::{Dataset, Effects, Opened, Split},
};
use std::{fmt::Display, io::Write};

/// Says a line on stderr. Where that cannot be written (a log on a full disk), the work matters more.
pub fn warn(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line. A reader that has gone (`| head`) is no reason to stop; a disk that is full is one.
pub fn say(line: impl Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("write to", "stdout", error)),
        _ => Ok(()),
    }
}

/// Says on stderr what was chosen and repaired while the cells were read.
pub fn tell(data: &Dataset) {
    data.notes.iter().for_each(|note| warn(format_args!("note: {note}")));
}

/// The same for whatever was opened, which it gives back.
pub fn told(opened: Opened) -> Opened {
    if let Opened::Cells(data) = &opened {
        tell(data);
    }
    opened
}

/// Says in one line what the labels of cells were read as, before anything is trained on them.
///
/// # Errors
/// No cell is perturbed: nothing could be learnt of a perturbation.
pub fn say_labels(opened: &Opened) -> Result<()> {
    let Opened::Cells(data) = opened else { return Ok(()) };
    let cells = data.cells_per_perturbation();
    let of = |fits: &dyn Fn(usize) -> bool| -> (usize, usize) {
        let kept = data.perturbations.iter().zip(&cells).filter(|(set, n)| **n > 0 && fits(set.genes().len()));
        (kept.clone().count(), kept.map(|(_, n)| n).sum())
    };
    let ((singles, of_singles), (combined, of_combined)) = (of(&|n| n == 1), of(&|n| n > 1));
    let controls = of(&|n| n == 0).1;
    if singles + combined == 0 {
        return Err(Error::data(format!(
            "no cell is perturbed: all {controls} cells are control, so no effect can be learnt or predicted; see `genailab \
             inspect` for what the labels are read as, and name the column of perturbations by --perturbation-column"
        )));
    }
    say(format_args!(
        "labels: {singles} single perturbations ({of_singles} cells), {combined} combined ({of_combined} cells), control \
         ({controls} cells)"
    ))
}

/// Says how an effects dataset is divided.
pub fn say_division(data: &Effects, split: &Split) -> Result<()> {
    say(format_args!(
        "{} perturbations x {} genes; {} to train on, {} doubles to validate on, {} held out",
        data.perturbations.len(),
        data.genes.len(),
        split.train.len(),
        split.validation.len(),
        split.test.len()
    ))
}
