//! Courses along time, of a model that knows times.

use super::{Args, HINTS};
use crate::{options::say, provenance};
use genailab::{
    Error, Result,
    data::{AnnDataWriter, Column, Perturbation, Table, Uns},
    model::{CourseQuery, Trained},
    ndarray::{Array2, Axis},
};

/// Predicts the course of each perturbation and writes it: mean log-normalised expression in X, one row per perturbation, draw and
/// time, with the columns `perturbation`, `time`, `dose` and, of several draws, `sample`. The layer `spread` holds the standard
/// deviation of each gene over the draws behind a mean course, of a model that draws.
pub fn predict(model: &dyn Trained, perturbations: &[Perturbation], args: &Args) -> Result<()> {
    if args.cells.is_some() {
        say(format_args!(
            "note: --cells has no meaning for mean profiles, which are what this model ({}) predicts",
            model.kind()
        ))?;
    }
    let last = model.times().last().copied().unwrap_or(f64::INFINITY);
    let beyond: Vec<String> = args.times.iter().filter(|time| **time > last).map(f64::to_string).collect();
    if !beyond.is_empty() {
        say(format_args!("note: --times {} is extrapolated; training courses end at {last}", beyond.join(",")))?;
    }
    let asked = |condition: &_, doses: Vec<f64>, samples: usize| {
        model.course(condition, &CourseQuery { times: args.times.clone(), doses, samples, seed: args.seed })
    };
    let samples = if args.samples > 1 { args.samples } else { 0 };
    let (mut names, mut labels, mut drawn) = (Vec::new(), Vec::new(), Vec::new());
    let (mut times, mut doses) = (Vec::new(), Vec::new());
    let mut values = Array2::zeros((0, model.genes().len()));
    let mut spreads: Option<Array2<f32>> = None;
    for perturbation in perturbations {
        let condition = args.condition(perturbation);
        let dose = match args.dose[..] {
            [one] => match args.times.len() {
                // One number stands for all times, of which only the model knows how many there are.
                0 => vec![one; asked(&condition, Vec::new(), 0)?.times.len() - 1],
                n => vec![one; n],
            },
            _ => args.dose.clone(),
        };
        let course = asked(&condition, dose, samples).map_err(|e| e.at("--perturbations, --times, --dose"))?;
        if let Some(spread) = &course.spread {
            let all = spreads.get_or_insert_with(|| Array2::zeros((0, model.genes().len())));
            all.append(Axis(0), spread.view()).map_err(|_| Error::data("a course of other genes was predicted"))?;
        }
        for (sample, profiles) in course.profiles.iter().enumerate() {
            values
                .append(Axis(0), profiles.view())
                .map_err(|_| Error::data("a course of other genes was predicted"))?;
            for (time, dose) in course.times.iter().zip(&course.doses) {
                names.push(match samples {
                    0 => format!("{perturbation}-{time}"),
                    _ => format!("{perturbation}-{sample}-{time}"),
                });
                labels.push(Some(perturbation.to_string()));
                drawn.push(Some(sample as i64));
                times.push(*time);
                doses.push(if perturbation.is_control() { 0.0 } else { *dose });
            }
        }
    }
    let mut rows = Table::from_names(names);
    rows.set("perturbation", Column::Text(labels));
    rows.set("time", Column::Float(times));
    rows.set("dose", Column::Float(doses));
    if samples > 0 {
        rows.set("sample", Column::Integer(drawn));
    }
    if let Some(context) = &args.asked_context.name {
        rows.set("context", Column::Text(vec![Some(context.clone()); rows.len()]));
    }
    let by = format!("genailab {}", model.kind());
    let (provenance, record) = provenance::entry()?;
    let genes = Table::from_names(model.genes().to_vec());
    let writer = AnnDataWriter::new(&rows, &genes)
        .uns("predicted_by", by.as_str())
        .uns(provenance, record)
        .uns(HINTS, [("perturbation_column", "perturbation"), ("expression", "log")].into_iter().collect::<Uns>())
        .x(&values);
    match &spreads {
        Some(spreads) => writer.layer("spread", spreads).write(&args.out),
        None => writer.write(&args.out),
    }
}
