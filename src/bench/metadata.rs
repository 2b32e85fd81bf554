//! How well expression is predicted from metadata, on held-out rows, beside the predictors that a network has to beat.
//!
//! Errors are of log expression, over all held-out rows and genes. `r2` is `1 - SSE / SSE of the training mean`, pooled over genes;
//! `gene_r2` is the median over genes of the same. `coverage` is the share of held-out values inside the interval of 90 %.
//!
//! Where several rows have equal metadata, their deviations from their common mean bound what any prediction from metadata can reach:
//! the noise floor, `sqrt(sum of squares within combinations / (rows - combinations))`.

use crate::{
    Error, Result,
    data::{Dataset, EncodedMetadata, MetadataEncoder, Split},
    math::ridge::{PENALTIES, RidgePath, cross_validated},
    model::FromMetadata,
    show::{Align, Grid},
};
use ndarray::{Array1, Array2, Axis};
use serde::Serialize;

/// Folds by which the penalties of the linear opponents are chosen.
const FOLDS: usize = 5;
/// Most features of the regression with pairs: its decomposition takes their cube.
const MOST_PAIRS: usize = 600;
/// Rows with equal metadata that a noise floor is estimated from at least.
const FEWEST_REPLICATES: usize = 10;

/// Errors of one predictor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetadataScore {
    /// Its name.
    pub predictor: String,
    /// Root mean square error of log expression.
    pub rmse: f64,
    /// Share of the squared error of the training mean that it takes away, all genes together.
    pub r2: f64,
    /// The median over genes of that share.
    pub gene_r2: f64,
}

/// An estimate of the best that any prediction from this metadata can reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NoiseFloor {
    /// Root mean square deviation of rows with equal metadata, corrected for their mean.
    pub rmse: f64,
    /// Rows that share their metadata with another.
    pub rows: usize,
}

/// The scores of a model of metadata and of its opponents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetadataEvaluation {
    /// Held-out rows that are judged.
    pub rows: usize,
    /// Values of metadata that no training row has; held-out rows with one are not judged.
    pub unknown: Vec<String>,
    /// The model first.
    pub scores: Vec<MetadataScore>,
    /// Share of held-out values inside the model's interval of 90 %.
    pub coverage: f64,
    /// Coverage of the genes at the tenth and the ninetieth percentile.
    pub gene_coverage: [f64; 2],
    /// Mean width of the interval, in log expression.
    pub interval_width: f64,
    /// `None` where too few rows have equal metadata.
    pub noise_floor: Option<NoiseFloor>,
}

/// Judges a model on the test rows of `split`; its opponents are fitted to the training rows.
///
/// # Errors
/// No test row whose metadata is known.
pub fn evaluate_metadata(model: &dyn FromMetadata, data: &Dataset, split: &Split) -> Result<MetadataEvaluation> {
    let mut train = [split.train.as_slice(), &split.validation].concat();
    train.sort_unstable();
    let encoder = model.encoder();
    let (test, unknown) = encoder.known_rows(&data.cells, &split.test)?;
    if test.is_empty() {
        return Err(Error::data(format!(
            "no held-out row can be judged: none has metadata that was trained on ({})",
            unknown.join(", ")
        )));
    }
    let observed = model.log_expression(data, &test)?.mapv(f64::from);
    let training = model.log_expression(data, &train)?.mapv(f64::from);
    let (m_train, m_test) = (encoder.encode(&data.cells, &train)?, encoder.encode(&data.cells, &test)?);
    let expected = model.expected(&data.cells.select(&test))?;
    let mut predictions = vec![("mean-residual".to_owned(), expected.mean.mapv(f64::from))];
    predictions.extend(opponents(encoder, (&m_train, &training), &m_test)?);
    let mean = training.mean_axis(Axis(0)).ok_or_else(|| Error::data("there is no training row"))?;
    let of_mean = gene_errors(&observed, &(Array2::<f64>::zeros(observed.dim()) + &mean));
    let score = |(predictor, predicted): (String, Array2<f64>)| score(predictor, &observed, &predicted, &of_mean);
    let inside = Array2::from_shape_fn(observed.dim(), |at| {
        let value = observed[at];
        f64::from(u8::from((f64::from(expected.lower[at])..=f64::from(expected.upper[at])).contains(&value)))
    });
    let mut of_genes = inside.mean_axis(Axis(0)).expect("there are test rows").to_vec();
    of_genes.sort_unstable_by(f64::total_cmp);
    let percentile = |p: f64| of_genes[((of_genes.len() - 1) as f64 * p).round() as usize];
    Ok(MetadataEvaluation {
        rows: test.len(),
        unknown,
        scores: predictions.into_iter().map(score).collect(),
        coverage: inside.mean().unwrap_or(f64::NAN),
        gene_coverage: [percentile(0.1), percentile(0.9)],
        interval_width: f64::from((&expected.upper - &expected.lower).mean().unwrap_or(f32::NAN)),
        noise_floor: noise_floor(encoder, (&m_train, &training), (&m_test, &observed)),
    })
}

/// Sum of squared errors of each gene, `(genes,)`.
fn gene_errors(observed: &Array2<f64>, predicted: &Array2<f64>) -> Array1<f64> {
    let error = observed - predicted;
    (&error * &error).sum_axis(Axis(0))
}

fn score(predictor: String, observed: &Array2<f64>, predicted: &Array2<f64>, of_mean: &Array1<f64>) -> MetadataScore {
    let errors = gene_errors(observed, predicted);
    let shares = errors.iter().zip(of_mean).filter(|(_, mean)| **mean > 0.0).map(|(own, mean)| 1.0 - own / mean);
    MetadataScore {
        predictor,
        rmse: (errors.sum() / observed.len() as f64).sqrt(),
        r2: 1.0 - errors.sum() / of_mean.sum(),
        gene_r2: crate::math::median(shares.collect()).unwrap_or(f64::NAN),
    }
}

/// Mean of each group of rows; `None` of a group without rows.
fn group_means(group_of: &[usize], n: usize, y: &Array2<f64>) -> Vec<Option<Array1<f64>>> {
    let mut sums = vec![(0_usize, Array1::<f64>::zeros(y.ncols())); n];
    for (&group, row) in group_of.iter().zip(y.rows()) {
        sums[group].0 += 1;
        sums[group].1 += &row;
    }
    sums.into_iter().map(|(n, sum)| (n > 0).then(|| sum / n as f64)).collect()
}

/// Predictions of the opponents for the test rows.
fn opponents(
    encoder: &MetadataEncoder,
    (m_train, y): (&EncodedMetadata, &Array2<f64>),
    m_test: &EncodedMetadata,
) -> Result<Vec<(String, Array2<f64>)>> {
    let overall = y.mean_axis(Axis(0)).ok_or_else(|| Error::data("there is no training row"))?;
    let by_group = |train: &[usize], test: &[usize], n: usize| {
        let means = group_means(train, n, y);
        let mut predicted = Array2::zeros((test.len(), y.ncols()));
        for (mut row, &group) in predicted.rows_mut().into_iter().zip(test) {
            row.assign(means[group].as_ref().unwrap_or(&overall));
        }
        predicted
    };
    let mut all = vec![("training mean".to_owned(), by_group(&vec![0; y.nrows()], &vec![0; m_test.levels.len()], 1))];
    let categorical: Vec<&str> = encoder.categorical();
    for (place, name) in categorical.iter().enumerate() {
        let of = |metadata: &EncodedMetadata| metadata.levels.iter().map(|row| row[place] as usize).collect::<Vec<_>>();
        all.push((format!("mean per {name}"), by_group(&of(m_train), &of(m_test), encoder.n_levels())));
    }
    let (combinations, n) = encoder.level_combinations(&m_train.stacked(m_test));
    let (train, test) = combinations.split_at(m_train.levels.len());
    if categorical.len() > 1 {
        all.push(("mean per combination".to_owned(), by_group(train, test, n)));
    }
    // Folds divide what the split divides: whole combinations, where those of the test are not trained on.
    let are_new = !test.is_empty() && test.iter().all(|combination| !train.contains(combination));
    let unit = |row: usize| if are_new { train[row] } else { row };
    let fold_of: Vec<usize> = (0..y.nrows()).map(|row| unit(row) % FOLDS.min(y.nrows())).collect();
    let ridge = |x: &Array2<f64>, x_test: &Array2<f64>| {
        let penalty = cross_validated(x, y, &fold_of, &PENALTIES)?.penalty;
        Ok::<_, Error>(RidgePath::new(x, y)?.fit(penalty).predict(x_test))
    };
    let (x, x_test) = (m_train.design(), m_test.design());
    all.push(("additive ridge".to_owned(), ridge(&x, &x_test)?));
    let pairs = pairs(&x);
    if (x.ncols() + 1..=MOST_PAIRS).contains(&pairs.len()) {
        all.push(("ridge with pairs".to_owned(), ridge(&products(&x, &pairs), &products(&x_test, &pairs))?));
    }
    Ok(all)
}

/// Pairs of features that are not 0 together in two rows at least, and the features themselves.
fn pairs(x: &Array2<f64>) -> Vec<(usize, Option<usize>)> {
    let features = x.ncols();
    let mut pairs: Vec<(usize, Option<usize>)> = (0..features).map(|feature| (feature, None)).collect();
    for a in 0..features {
        for b in a + 1..features {
            let together = x.rows().into_iter().filter(|row| row[a] != 0.0 && row[b] != 0.0).take(2).count();
            if together == 2 {
                pairs.push((a, Some(b)));
            }
            if pairs.len() > MOST_PAIRS {
                return pairs;
            }
        }
    }
    pairs
}

fn products(x: &Array2<f64>, pairs: &[(usize, Option<usize>)]) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), pairs.len()), |(row, pair)| {
        let (a, b) = pairs[pair];
        x[[row, a]] * b.map_or(1.0, |b| x[[row, b]])
    })
}

fn noise_floor(
    encoder: &MetadataEncoder,
    (m_train, y_train): (&EncodedMetadata, &Array2<f64>),
    (m_test, y_test): (&EncodedMetadata, &Array2<f64>),
) -> Option<NoiseFloor> {
    let (of, n) = encoder.combinations(&m_train.stacked(m_test));
    let y = ndarray::concatenate(Axis(0), &[y_train.view(), y_test.view()]).ok()?;
    let mut rows_of = vec![Vec::new(); n];
    of.iter().enumerate().for_each(|(row, &combination)| rows_of[combination].push(row));
    let several: Vec<&Vec<usize>> = rows_of.iter().filter(|rows| rows.len() > 1).collect();
    let rows: usize = several.iter().map(|rows| rows.len()).sum();
    if rows < FEWEST_REPLICATES {
        return None;
    }
    let within: f64 =
        several.iter().map(|rows| y.select(Axis(0), rows).var_axis(Axis(0), 0.0).sum() * rows.len() as f64).sum();
    let freedom = ((rows - several.len()) * y.ncols()) as f64;
    Some(NoiseFloor { rmse: (within / freedom).sqrt(), rows })
}

impl MetadataEvaluation {
    /// The score of a predictor.
    pub fn score(&self, predictor: &str) -> Option<&MetadataScore> {
        self.scores.iter().find(|score| score.predictor == predictor)
    }

    /// The scores as a table.
    pub fn to_grid(&self) -> Grid {
        let headings = [
            ("predictor", Align::Left),
            ("RMSE", Align::Right),
            ("R2", Align::Right),
            ("median R2 of a gene", Align::Right),
        ];
        let mut grid = Grid::new(format!("log expression of {} held-out rows", self.rows), headings);
        for MetadataScore { predictor, rmse, r2, gene_r2 } in &self.scores {
            let row = [predictor.clone(), format!("{rmse:.4}"), format!("{r2:.3}"), format!("{gene_r2:.3}")];
            grid.push(row).expect("as many cells as headings");
        }
        grid
    }

    /// What the table does not say, in sentences.
    pub fn notes(&self) -> Vec<String> {
        let [low, high] = self.gene_coverage;
        let mut notes = vec![format!(
            "the intervals of 90 % hold {:.1} % of the held-out values (of 80 % of the genes between {:.0} and {:.0} %); mean width \
             {:.2}",
            100.0 * self.coverage,
            100.0 * low,
            100.0 * high,
            self.interval_width
        )];
        if let Some(NoiseFloor { rmse, rows }) = self.noise_floor {
            notes.push(format!(
                "noise floor: RMSE {rmse:.4}, the spread of {rows} rows that share their metadata with another: about the best that any \
                 prediction from this metadata can reach"
            ));
        }
        if !self.unknown.is_empty() {
            notes.push(format!(
                "held-out rows with values that no training row has are not judged: {}",
                self.unknown.join(", ")
            ));
        }
        notes
    }
}
