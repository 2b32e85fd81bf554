//! `train` and `predict` with the combination model and the JEPA, and `screen`.

use super::tool::{Place, json};
use genailab::data::{AnnData, Dataset, Effects};

/// Simulated cells at `c.h5ad`, and their mean effects at `e.h5ad`.
fn place() -> Place {
    let place = Place::new();
    place.run("simulate --cells 800 --genes 120 --seed 3 --out c.h5ad").done();
    let cells = Dataset::open(place.path("c.h5ad")).expect("cells");
    Effects::of_cells(&cells).expect("there is control").write(place.path("e.h5ad")).expect("a file");
    place
}

fn names(place: &Place, genes: usize) -> Vec<String> {
    let data = Effects::open(place.path("e.h5ad")).expect("effects");
    data.perturbations.iter().filter(|p| p.genes().len() == genes).map(ToString::to_string).collect()
}

#[test]
fn a_combination_model_is_trained_saved_and_asked() {
    let place = place();
    let said = place.run("train --data e.h5ad --model combination --epochs 5 --seed 2 --out m");
    assert!(said.done().contains("perturbations x 120 genes"), "{}", said.stdout);
    assert_eq!(json(&place.path("m/model.json"))["model"], "combination");
    assert!(json(&place.path("m/metrics.json"))["chosen"]["mixture"].is_object());
    for file in ["model.safetensors", "split.json", "history.jsonl", "network-0/history.jsonl"] {
        assert!(place.path("m").join(file).exists(), "{file} is missing: {:?}", place.files());
    }
    let (singles, doubles) = (names(&place, 1), names(&place, 2));
    let asked = format!("{},{}", doubles[0], singles[0]);
    place.run(&format!("predict --model m --perturbations {asked} --out p.h5ad")).done();
    let predicted = Effects::open(place.path("p.h5ad")).expect("effects");
    assert_eq!(predicted.perturbations.len(), 2);
    assert_eq!(predicted.genes.names.len(), 120);
    // The model was trained on the single perturbation, and says what was measured.
    let data = Effects::open(place.path("e.h5ad")).expect("effects");
    let measured = data.perturbations.iter().position(|p| p.to_string() == singles[0]).expect("there");
    let own = predicted.perturbations.iter().position(|p| p.to_string() == singles[0]).expect("asked");
    assert_eq!(predicted.values.row(own), data.values.row(measured));

    place.fails(
        &format!("predict --model m --perturbations NOSUCH+{},NEITHER --out q.h5ad", singles[0]),
        &["--perturbations", "NEITHER, NOSUCH", "GMT"],
    );
    place.fails("train --data e.h5ad --model combination --resume --out m", &["cannot resume", "seed was 2"]);
    let weights = std::fs::read(place.path("m/model.safetensors")).expect("a model");
    place.run("train --data e.h5ad --model combination --epochs 5 --seed 2 --resume --out m").done();
    assert_eq!(std::fs::read(place.path("m/model.safetensors")).expect("a model"), weights);
    place.fails("train --data e.h5ad --model jepa --out n", &["jepa", "combination"]);
    place.write("bad.toml", "[model]\nfolds = 1\n");
    place.fails("train --data e.h5ad --model combination --config bad.toml --out n", &["bad.toml line 2", "folds"]);
    place.write("typo.toml", "[model]\nwidht = 1\n");
    place.fails("train --data e.h5ad --model combination --config typo.toml --out n", &["typo.toml line 2", "widht"]);
}

#[test]
fn cells_are_trained_on_by_their_means() {
    let place = Place::new().with_cells();
    let said = place.run("train --data cells.h5ad --model combination --epochs 2 --out m");
    assert!(said.done().contains("mean effect"), "{}", said.stdout);
}

/// Small networks, one epoch.
pub const QUICK: &str = "[encoder]\nwidth = 12\nmasks = { patterns = 4 }\n\
                     encoder = { kind = \"groups\", groups = 4, hidden = 16, tokens = 16, depth = 1, attention = { heads = 2 } }\n\
                     [response]\nhidden = 16\ncells = 12\ndraws = 2\nfolds = 2\nrank = 2\ninteraction = { epochs = 2 }\n";

#[test]
fn a_jepa_is_trained_saved_and_writes_cells_of_a_combination() {
    let place = Place::new().with_cells();
    place.write("quick.toml", QUICK);
    let data = Dataset::open(place.path("cells.h5ad")).expect("cells");
    let double = data.perturbations.iter().find(|p| p.genes().len() == 2).expect("a double").to_string();
    let train = "train --data cells.h5ad --model jepa --config quick.toml --epochs 1 --seed 2";
    let said = place.run(&format!("{train} --out m"));
    assert!(said.done().contains("training combinations"), "{}", said.stdout);
    assert_eq!(json(&place.path("m/model.json"))["model"], "jepa");
    let metrics = json(&place.path("m/metrics.json"));
    assert!(metrics["chosen"]["factor"].is_number());
    for part in ["validation", "test"] {
        let found = &metrics[part]["embeddings"];
        assert!(found["predictions"][0]["cosine"]["mean"].is_number(), "{part}: {found}");
        assert_eq!(found["predictions"][2]["prediction"], "mean_shift", "{part}");
    }
    let table: Vec<&str> = said.stdout.lines().skip_while(|line| !line.contains("in embedding space")).collect();
    assert!(table.len() >= 5 && table[2].starts_with("jepa") && table[3].starts_with("no change"), "{}", said.stdout);
    place.run(&format!("predict --model m --perturbations {double},control --cells 30 --out p.h5ad")).done();
    let predicted = Dataset::open(place.path("p.h5ad")).expect("cells");
    assert_eq!((predicted.n_cells(), predicted.n_genes()), (60, 150));
    assert_eq!(predicted.perturbations[1].to_string(), double);
    place.fails("predict --model m --perturbations NOSUCH --out q.h5ad", &["--perturbations", "NOSUCH"]);
    place.run("embed --model m --data cells.h5ad --out z.h5ad").done();

    // Interrupted parts are gone on with: the same bits as in one go.
    let weights = std::fs::read(place.path("m/model.safetensors")).expect("a model");
    std::fs::remove_file(place.path("m/model.safetensors")).expect("it was there");
    std::fs::remove_dir_all(place.path("m/phase-b")).expect("it was there");
    place.run(&format!("{train} --resume --out m")).done();
    assert_eq!(std::fs::read(place.path("m/model.safetensors")).expect("a model"), weights);
    place.fails(&format!("{train} --resume --out n"), &["nothing to resume"]);
}

#[test]
fn a_screen_ranks_all_candidates() {
    let place = place();
    let (singles, doubles) = (names(&place, 1), names(&place, 2));
    let said = place.run(&format!("screen --data e.h5ad --target {} --top 3 --out s", doubles[0]));
    assert_eq!(said.done().lines().filter(|line| line.contains("cosine")).count(), 3, "{}", said.stdout);
    let table = std::fs::read_to_string(place.path("s/screen.csv")).expect("a table");
    let n = singles.len();
    assert_eq!(table.lines().count(), 1 + n + n * (n - 1) / 2);
    let results = json(&place.path("s/results.json"));
    assert_eq!(results["hits"].as_array().map(Vec::len), Some(n + n * (n - 1) / 2));
    assert!(results["retrieval"].as_array().is_some_and(|found| !found.is_empty()));
    assert!(std::fs::read_to_string(place.path("s/report.html")).expect("a report").contains("Nearest candidates"));

    // The columns of all candidates' genes are left out, as far as they are measured; and are not if that is asked for.
    let measured = Effects::open(place.path("e.h5ad")).expect("effects").genes.names;
    let own = singles.iter().filter(|gene| measured.contains(gene)).count();
    assert!(own > 0);
    assert_eq!((&results["genes"], &results["genes_left_out"]), (&120.into(), &own.into()));
    assert!(said.stdout.contains("left out"), "{}", said.stdout);
    place.run(&format!("screen --data e.h5ad --target {} --own-genes --out w", doubles[0])).done();
    assert_eq!(json(&place.path("w/results.json"))["genes_left_out"], 0);

    // The wanted state as a file of its own, of effects and of cells.
    let line = format!("screen --data e.h5ad --target-file c.h5ad --target {} --candidates pairs --out u", singles[0]);
    place.run(&line).done();

    place.fails("screen --data e.h5ad --target NOSUCH --out v", &["--target", "NOSUCH"]);
    place.fails("screen --data e.h5ad --target-file e.h5ad --out v", &["e.h5ad", "--target"]);
    place.write("not.h5ad", "text");
    place.fails(&format!("screen --data not.h5ad --target {} --out v", singles[0]), &["not.h5ad"]);
}

#[test]
fn a_jepa_is_told_of_contexts_and_asked_for_one_of_them_or_for_a_new_one() {
    let place = Place::new();
    place.run("simulate --cells 900 --genes 100 --cell-types 3 --seed 3 --out all.h5ad").done();
    let data = Dataset::open(place.path("all.h5ad")).expect("cells");
    let types = data.cells.column("cell_type").expect("a column").to_text();
    let of =
        |wanted: bool| (0..data.n_cells()).filter(|&cell| (types[cell].as_deref() == Some("T3")) == wanted).collect();
    let (known, new): (Vec<usize>, Vec<usize>) = (of(false), of(true));
    data.select_cells(&known).write(place.path("known.h5ad")).expect("a file");
    data.select_cells(&new).write(place.path("new.h5ad")).expect("a file");
    place.write("quick.toml", QUICK);
    let train = "train --data known.h5ad --model jepa --config quick.toml --epochs 1 --seed 2";
    place.run(&format!("{train} --context cell_type --out m")).done();
    let single = data.perturbations.iter().find(|p| p.genes().len() == 1).expect("a single").to_string();
    let predict = format!("predict --model m --perturbations {single} --out p.h5ad");
    let predicted = |options: &str| {
        place.run(&format!("{predict} {options}")).done();
        AnnData::open(place.path("p.h5ad")).expect("a file").read_matrix("X").expect("counts").to_dense()
    };
    let (one, two) = (predicted("--context T1 --cells 20"), predicted("--context T2 --cells 20"));
    assert_ne!(one, two);
    // Cells of a type that the model has never seen, from its control cells; how near it is to the others counts.
    let unnamed = predicted("--control-cells new.h5ad");
    assert_eq!(unnamed, predicted("--control-cells new.h5ad --context T3"));
    assert_ne!(unnamed, predicted("--control-cells new.h5ad --context T1"), "as if they were of T1");

    place.fails(&predict, &["T1, T2", "--context", "--control-cells"]);
    place.fails(&format!("{predict} --context T3"), &["T3", "T1, T2"]);
    place.fails(&format!("{train} --context nothing --out n"), &["--context", "nothing", "cell_type"]);
    place.fails("train --data known.h5ad --model vae --context cell_type --out n", &["vae knows no contexts", "jepa"]);
    place.run(&format!("{train} --out w")).done();
    place.fails(
        &format!("predict --model w --perturbations {single} --context T1 --out q.h5ad"),
        &["--context T1", "without contexts"],
    );
}

#[test]
fn an_ablation_has_a_row_a_variant() {
    let place = place();
    let said = place.run("ablate --data e.h5ad --seeds 1 --epochs 1 --out a");
    assert!(said.done().contains("scaled sum alone"), "{}", said.stdout);
    let trials = json(&place.path("a/ablation.json"))["trials"].as_array().map(Vec::len);
    assert_eq!(trials, Some(16));
    let said = place.run("ablate --data c.h5ad --phase a --seeds 1 --epochs 1 --out b");
    assert!(said.done().contains("masked reconstruction"), "{}", said.stdout);
    for variant in ["sets of a condition's cells", "a VAE", "principal components"] {
        let row =
            said.stdout.lines().find(|line| line.starts_with(variant)).unwrap_or_else(|| panic!("{}", said.stdout));
        assert!(
            row.contains('±') || row.split_whitespace().any(|word| word.starts_with("0.")),
            "{variant} has scores: {row}"
        );
    }
    assert!(place.path("b/report.html").exists());
    place.fails("ablate --data e.h5ad --seeds 0 --out c", &["--seeds"]);
    place.fails("ablate --data c.h5ad --phase b --out c", &["--phase b", "the encoder alone", "the whole JEPA"]);
    for option in ["--resume", "--split doubles", "--variants no_phase_A"] {
        place.fails(&format!("ablate --data c.h5ad --phase a {option} --out c"), &["--resume", "--phase a"]);
    }
    place.fails("ablate --data e.h5ad --phase a --out c", &["--phase", "cells"]);
    place.fails("ablate --data e.h5ad --split doubles --out c", &["--split", "cells"]);
    let text = std::fs::read_to_string(place.path("a/report.html")).expect("a report");
    assert!(text.contains("l2: difference") && text.contains("bootstrap interval"));
    place.fails("ablate --data c.h5ad --variants no_head --out c", &["no head", "no phase A"]);
}

#[test]
fn masks_of_modules_are_variants_where_their_files_are_given() {
    let place = Place::new();
    place.run("simulate --cells 250 --genes 40 --seed 3 --out c.h5ad").done();
    let genes = Dataset::open(place.path("c.h5ad")).expect("cells").genes.names;
    let sets =
        (0..4).map(|set| format!("S{set}\tmade up\t{}\n", genes[set * 10..][..10].join("\t"))).collect::<String>();
    place.write("sets.gmt", &sets);
    let regulons = genes.iter().enumerate().map(|(at, gene)| format!("TF{}\t{gene}\n", at / 8)).collect::<String>();
    place.write("regulons.tsv", &regulons);
    let line = "ablate --data c.h5ad --seeds 1 --epochs 1 --variants as_it_is,masks_by_gene_sets,masks_by_regulons";
    let said = place.run(&format!("{line} --gene-sets sets.gmt --regulons regulons.tsv --out a"));
    for part in ["4 sets of 5 to 200", "5 transcription factors", "l2: difference", "genes per token"] {
        assert!(said.done().contains(part), "{part}: {}", said.stdout);
    }
    let ablation = json(&place.path("a/ablation.json"));
    let trials = ablation["trials"].as_array().expect("trials");
    assert!(trials.len() == 3 && trials.iter().all(|trial| trial["failure"].is_null()), "{trials:?}");
    assert_ne!(trials[0]["scores"][0]["value"], trials[1]["scores"][0]["value"], "other masks, another encoder");
    let report = std::fs::read_to_string(place.path("a/report.html")).expect("a report");
    assert!(report.contains("L2 of the mean effect by variant") && report.contains("E-distance (plain) by variant"));
    place.fails(&format!("{line} --out b"), &["masks by gene sets", "--gene-sets FILE.gmt"]);
    place.write("other.gmt", "S\tmade up\tENSG1\tENSG2\n");
    place.fails("ablate --data c.h5ad --gene-sets other.gmt --out b", &["other.gmt", "gene sets"]);
    place.fails("ablate --data c.h5ad --phase a --gene-sets sets.gmt --out b", &["--gene-sets", "--phase a"]);
}

#[test]
fn sizes_and_shares_of_the_cells_are_compared_at_equal_compute() {
    let place = Place::new();
    place.run("simulate --cells 250 --genes 40 --seed 3 --out c.h5ad").done();
    place.run("ablate --data c.h5ad --scaling --seeds 1 --epochs 1 --out a").done();
    let trials = json(&place.path("a/ablation.json"))["trials"].as_array().cloned().expect("trials");
    assert_eq!(trials.len(), 9);
    assert_eq!(trials[0]["variant"], "16 wide, 25 % of the cells");
    assert!(trials.iter().all(|trial| trial["failure"].is_null()), "{trials:?}");
    assert!(std::fs::read_to_string(place.path("a/report.html")).expect("a report").contains("training cells, %"));
    place.fails("ablate --data c.h5ad --scaling --phase a --out b", &["--scaling", "--phase a"]);
}

#[test]
fn an_ablation_of_the_jepa_is_resumed_and_remembers_what_it_did() {
    let place = place();
    let trials = || json(&place.path("a/ablation.json"))["trials"].as_array().cloned().expect("trials");
    let line = "ablate --data c.h5ad --seeds 1 --epochs 1 --out a --variants";
    place.run(&format!("{line} no_phase_A")).done();
    let first = trials();
    assert_eq!(first.len(), 1);
    let scores = first[0]["scores"].as_array().expect("rows per condition");
    assert!(
        scores.iter().any(|row| row["metric"] == "l2" && row["perturbation"].as_str().is_some_and(|p| p.contains('+')))
    );
    let said = place.run(&format!("{line} no_phase_A,encoder_frozen_at_principal_components --resume"));
    assert!(said.done().contains("edistance_plain"), "{}", said.stdout);
    let both = trials();
    assert_eq!((both.len(), &both[0]), (2, &first[0]), "the first is not trained again");
    assert_eq!(both[1]["failure"], serde_json::Value::Null, "{both:?}");
    std::fs::copy(place.path("c.h5ad"), place.path("d.h5ad")).expect("a copy");
    place.fails("ablate --data d.h5ad --seeds 1 --resume --out a", &["c.h5ad", "--out"]);
    place.fails("ablate --data c.h5ad --seeds 1 --epochs 2 --resume --out a", &["other settings", "--out"]);
    place.fails("ablate --data c.h5ad --seeds 1 --resume --out other", &["ablation.json"]);
}

#[test]
fn a_gene_that_was_never_perturbed_is_predicted_by_its_features() {
    let place = Place::new().with_cells();
    let data = Dataset::open(place.path("cells.h5ad")).expect("cells");
    let perturbed: Vec<&String> = data.perturbations.iter().flat_map(|p| p.genes()).collect();
    let new = data.gene_names().iter().find(|gene| !perturbed.contains(gene)).expect("most genes");
    // The file says it as well, which is no reason to refuse the option.
    place.write("quick.toml", &format!("{QUICK}features = {{ co_expression = true }}\n"));
    let train = "train --data cells.h5ad --model jepa --config quick.toml --epochs 1 --seed 2";
    let said = place.run(&format!("{train} --co-expression --out m"));
    assert!(said.done().contains("unseen perturbations: "), "{}", said.stdout);
    assert!(json(&place.path("m/metrics.json"))["chosen"]["unseen"]["error_of_mean"].is_number());
    let said = place.run(&format!("predict --model m --perturbations control,{new} --cells 20 --out p.h5ad"));
    assert!(
        said.done().contains(&format!("note: {new} was never perturbed in training: predicted by ")),
        "{}",
        said.stdout
    );
    let predicted = Dataset::open(place.path("p.h5ad")).expect("cells");
    assert!(predicted.perturbations.iter().any(|known| known.to_string() == *new), "{:?}", predicted.perturbations);
    place.fails("predict --model m --perturbations NOSUCH --out q.h5ad", &["NOSUCH", "--perturbation-features"]);

    place.write("t.csv", "gene,a\nA,1\nA,2\n");
    place.fails(&format!("{train} --perturbation-features t.csv --out n"), &["t.csv", "\"A\" stands in two rows"]);
    place.fails(&format!("{train} --phase a --co-expression --out n"), &["--co-expression", "phase a"]);
    place.fails("train --data cells.h5ad --model vae --co-expression --out n", &["--co-expression", "vae has no use"]);
    let bench = "bench --data cells.h5ad --split perturbations --seeds 1 --models mean --out b";
    place.fails(&format!("{bench} --co-expression"), &["--co-expression", "none of --models"]);
}
