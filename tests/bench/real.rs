//! Norman 2019's effects: DESIGN's table of held-out doubles (its section 2, fact 11), within the spread of the splits.

use super::common::mean;
use crate::common::real_data;
use genailab::{bench::Benchmark, data::Effects};

/// What was measured beforehand on 20 splits of another random stream: L2, ratio to additive, median Pearson.
const TABLE: [(&str, f64, f64, Option<f64>); 6] = [
    ("no_change", 23.7, 1.22, None),
    ("mean_doubles", 21.9, 1.13, Some(0.39)),
    ("additive", 19.4, 1.0, Some(0.705)),
    ("scaled_additive", 16.6, 0.852, Some(0.705)),
    ("kernel_ridge", 16.0, 0.825, Some(0.730)),
    ("kernel_ridge_per_gene", 15.9, 0.819, Some(0.735)),
];

#[test]
fn the_table_of_held_out_doubles() {
    let Some(file) = real_data("norman_pseudobulk.h5ad") else { return };
    let data = Effects::open(file).unwrap();
    let names: Vec<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
    let found = Benchmark::run(&data, "doubles", 20, &names).unwrap();
    println!("{found}");
    for (model, l2, ratio, pearson) in TABLE {
        let summary = found.summary_of(model, "l2").unwrap();
        // The mean over 20 splits is known to about a quarter of the spread between them; two such means are compared.
        let slack = summary.sd_of_seeds.unwrap();
        assert!((summary.mean - l2).abs() < slack + 0.05, "{model}: L2 {} instead of {l2} +- {slack}", summary.mean);
        let ours = mean(&found, model, "l2") / mean(&found, "additive", "l2");
        assert!((ours - ratio).abs() < 0.02, "{model}: ratio {ours} instead of {ratio}");
        let median = found.summary_of(model, "pearson").map(|summary| summary.median);
        match pearson {
            Some(expected) => {
                assert!((median.unwrap() - expected).abs() < 0.03, "{model}: {median:?} instead of {expected}")
            }
            None => assert_eq!(median, None, "{model}"),
        }
    }
}
