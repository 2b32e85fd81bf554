//! The snippets of the page `score_your_model`: executed on arrays of the shapes that the tools give, and what they write is scored.

use super::{common::cells, contract::check};
use crate::{
    commands::tool::Place,
    common::{python, root},
};
use genailab::data::Column;
use std::process::Command;

/// What stands in for the tools: arrays of the documented shapes around the control profile.
const TOOLS: &str = r#"
import warnings
warnings.filterwarnings("ignore")
import numpy as np, anndata as ad
random = np.random.default_rng(0)
def normalised(adata):
    x = np.asarray(adata.X.todense() if hasattr(adata.X, "todense") else adata.X, dtype=np.float64)
    return np.log1p(1e4 * x / x.sum(1, keepdims=True)).astype(np.float32)
"#;
const GEARS: &str = r#"
controls = normalised(train[train.obs["perturbation"] == "control"])
gene_list = list(train.var_names)
predicted = {name.replace("+", "_"): controls.mean(0) + 0.1 for name in held_out}
"#;
const CPA: &str = r#"
queries = ad.AnnData(np.tile(controls[:8], (len(held_out), 1)), var=train.var.copy())
queries.obs["condition"] = np.repeat(held_out, 8)
queries.obsm["CPA_pred"] = queries.X + 0.1
"#;
const SCGEN: &str = r#"
is_b = (train.obs["cell_type"] == "B") & (train.obs["perturbation"] == "control")
pred = ad.AnnData(normalised(train[is_b]) + 0.1, obs=train.obs[is_b].copy(), var=train.var.copy())
pred.obs["perturbation"] = pred.obs["perturbation"].astype(str)
"#;
const CELLFLOW: &str = r#"
all_cells = normalised(train)
gene_means = all_cells.mean(0)
u, s, vt = np.linalg.svd(all_cells - gene_means, full_matrices=False)
train.varm["PCs"] = vt[:10].T
predicted = {name: (controls[:6] - gene_means) @ train.varm["PCs"] for name in held_out}
"#;
const STATE: &str = r#"
rows = np.repeat(held_out + ["control"], 5)
output = ad.AnnData(np.zeros((len(rows), train.n_vars), dtype=np.float32), var=train.var.copy())
output.obs["perturbation"] = rows
output.obsm["X_hvg"] = np.tile(controls[:5], (len(held_out) + 1, 1))[:, :70] + 0.1
output.uns["X_hvg_var_names"] = np.array(train.var_names[:70], dtype=object)
"#;

/// The snippet of the page after `<!-- test: NAME -->`.
fn snippet<'a>(page: &'a str, name: &str) -> &'a str {
    let rest = page.split(&format!("<!-- test: {name} -->")).nth(1).unwrap_or_else(|| panic!("no snippet {name}"));
    let code = rest.split("```python").nth(1).and_then(|code| code.split("```").next());
    code.expect("a block of Python")
}

#[test]
fn the_snippets_of_the_page_write_files_that_are_scored() {
    let Some(python) = python(&["anndata", "numpy"]) else { return };
    let place = Place::new();
    let mut data = cells();
    let types = (0..data.n_cells()).map(|cell| Some(if cell % 2 == 0 { "B" } else { "T" }.to_owned()));
    data.cells.set("cell_type", Column::Text(types.collect()));
    data.write(place.path("cells.h5ad")).expect("written");
    place.run("split --data cells.h5ad --split doubles --seed 0 --out split.json").done();
    let page = std::fs::read_to_string(root().join("tutorials/src/score_your_model.md")).expect("the page");
    let mut script = TOOLS.to_owned() + snippet(&page, "split");
    for (name, tool) in [("gears", GEARS), ("cpa", CPA), ("scgen", SCGEN), ("cellflow", CELLFLOW), ("state", STATE)] {
        script += tool;
        script += snippet(&page, name);
    }
    let script = script.replace("= \"stimulated\"", "= \"G0\"");
    let ended =
        Command::new(python).arg("-c").arg(&script).current_dir(place.path("")).output().expect("Python starts");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));

    let scored = |split: &str, files: &[(&str, &str)]| {
        let files: String = files.iter().map(|(name, file)| format!(" --predictions {name}={file}")).collect();
        let line = format!("bench --data cells.h5ad --split {split} --seeds 1 --models additive --out {split}{files}");
        let ended = place.run(&line);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        let said = ended.stdout;
        assert!(!said.contains("not scored"), "{said}");
        (said, check(&std::fs::read_to_string(place.path(split).join("results.json")).expect("results")))
    };
    let files = [
        ("GEARS", "gears.h5ad:profiles"),
        ("CPA", "cpa.h5ad:cells:obsm=CPA_pred"),
        ("CellFlow", "cellflow.h5ad:cells"),
        ("STATE", "state.h5ad:cells"),
    ];
    let (said, results) = scored("doubles", &files);
    assert!(said.contains("70 of 120 genes"), "STATE has 70: {said}");
    for (model, _) in files {
        assert!(page.contains(&format!("--predictions {model}=")), "{model}");
        let of = |one: &&serde_json::Value| one["model"] == model && one["metric"] == "l2";
        let l2 = results["summary"].as_array().expect("a summary").iter().find(of).expect("scored");
        assert_eq!(l2["n"], 11, "{l2}");
    }
    let (_, results) = scored("context:cell_type=B", &[("scGen", "scgen.h5ad:cells")]);
    let rows = results["rows"].as_array().expect("rows");
    assert!(rows.iter().any(|row| row["model"] == "scGen" && row["perturbation"] == "G0 in B"));
}
