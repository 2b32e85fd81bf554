//! Models, checkpoints, gene sets and settings: read by safe Rust, so a panic can be caught here.

use super::Campaign;
use crate::commands::tool::{self, Place, copy_folder};
use genailab::{
    Result,
    data::{GeneSets, NamedSplit, OpenOptions, Split, fetch::Manifest, read_table},
    device::Device,
    model::{SettingsFile, jepa::Regulons, registry::Registry},
    nn::{AdapterFile, Checkpoint, Snapshot},
    predict::baselines::predictor,
    train::History,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::tempdir;

const LONGEST: Duration = Duration::from_secs(10);

/// Writes each damaged file at `name` in a folder (with what `prepare` put there), and reads it.
fn campaign(
    name: &str,
    inputs: usize,
    sources: &[Vec<u8>],
    prepare: impl Fn(&Path),
    read: impl Fn(&Path) -> Result<()> + Sync,
) {
    let folder = tempdir().expect("a folder");
    prepare(folder.path());
    let path = folder.path().join(name);
    // One thread: all files have the same place.
    Campaign::of(inputs).run(name, sources, 1, |_, bytes| {
        std::fs::write(&path, bytes).expect("written");
        let started = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| read(&path))) {
            Err(_) => return Err("it panics".to_owned()),
            Ok(Err(error)) if error.to_string().trim_end().contains('\n') => return Err(format!("two lines: {error}")),
            Ok(_) => {}
        }
        match started.elapsed() {
            took if took > LONGEST => Err(format!("it takes {took:?}")),
            _ => Ok(()),
        }
    });
}

#[test]
fn gene_sets() {
    let text = "HALLMARK_ONE\thttp://a\tKLF1\tSET\tGATA1,1.0\nTWO\t\tFOSB\t\t\nTHREE\tx\tKLF1\tKLF1\n";
    campaign("x.gmt", 2000, &[text.into()], |_| (), |path| GeneSets::open(path).map(drop));
}

#[test]
fn settings() {
    let beside = "perturbation_column = \"guide\"\ncontrol = [\"sgX*\", \"NT\"]\nseparator = \"|\"\nguide_suffix = true\nobs = \"a.csv\"\n";
    let read = |path: &Path| OpenOptions::default().or_beside(&path.with_file_name("x.h5ad")).map(drop);
    campaign("genailab.toml", 2000, &[beside.into()], |_| (), read);
    let models = "[vae_conditional.train]\nepochs = 3\nbatch = 64\n\n[combination]\nridge = 1.0\n[jepa.response]\npredictor = \"initial\"\n";
    let read = |path: &Path| {
        for (name, settings) in SettingsFile::read(path)?.by_model()? {
            predictor(&name)?.configure(&settings)?;
        }
        Ok(())
    };
    campaign("models.toml", 2000, &[models.into()], |_| (), read);
}

#[test]
fn models_and_checkpoints() {
    let model = tool::model();
    let file = |name: &str| vec![std::fs::read(model.join(name)).expect("it was saved")];
    let load = |path: &Path| Registry::default().load(path.parent().expect("a folder"), Device::Cpu).map(drop);
    for (name, inputs) in [("model.json", 300), ("model.safetensors", 300)] {
        campaign(name, inputs, &file(name), |folder| copy_folder(model, folder), load);
    }
    campaign("last.safetensors", 300, &file("model.safetensors"), |_| (), |path| Checkpoint::read(path).map(drop));
}

/// The folders of other kinds of model, small ones.
#[test]
fn other_models() {
    let place = Place::new().with_cells();
    place.write("quick.toml", "[model]\nnetwork = false\n");
    place.run("simulate --cells 200 --genes 40 --time-points 3 --seed 3 --out course.h5ad").done();
    for (kind, line) in [
        ("combination", "train --data cells.h5ad --model combination --config quick.toml --out"),
        ("world-model", "train --data course.h5ad --model world-model --epochs 1 --out"),
        ("static-dynamic", "train --data course.h5ad --model static-dynamic --epochs 1 --out"),
        ("ebm", "train --data course.h5ad --model ebm --epochs 1 --out"),
    ] {
        place.run(&format!("{line} {kind}")).done();
        let model = place.path(kind);
        let file = |name: &str| vec![std::fs::read(model.join(name)).expect("it was saved")];
        let load = |path: &Path| Registry::default().load(path.parent().expect("a folder"), Device::Cpu).map(drop);
        for name in ["model.json", "model.safetensors"] {
            println!("{kind}:");
            campaign(name, 60, &file(name), |folder| copy_folder(&model, folder), load);
        }
    }
}

#[test]
fn tables_and_records() {
    let table = "sample,tissue,age,sex\ns1,liver,31.5,f\ns2,\"a, b\",,m\ns3,lung,7,\n";
    campaign(
        "metadata.csv",
        500,
        &[table.into(), table.replace(',', "\t").into()],
        |_| (),
        |path| read_table(path).map(drop),
    );
    let regulons = "TF\tTARGET\tWEIGHT\nKLF1\tHBB\t1.5\nKLF1\tHBA1\nGATA1\tKLF1\t-2\n";
    campaign("regulons.tsv", 500, &[regulons.into()], |_| (), |path| Regulons::open(path).map(drop));
    let manifest = genailab::data::fetch::MANIFEST.into();
    let read =
        |path: &Path| Manifest::from_json(&String::from_utf8_lossy(&std::fs::read(path).expect("written"))).map(drop);
    campaign("manifest.json", 500, &[manifest], |_| (), read);
    let model = tool::model();
    let saved = |name: &str| vec![std::fs::read(model.join(name)).expect("it was saved")];
    campaign("history.jsonl", 500, &saved("history.jsonl"), |_| (), |path| History::read(path).map(drop));
}

#[test]
fn splits() {
    let place = Place::new().with_cells();
    place.run("bench --data cells.h5ad --split doubles --seeds 1 --models additive --out bench").done();
    let named = std::fs::read(place.path("bench/splits/0.json")).expect("a split");
    campaign("named.json", 500, &[named], |_| (), |path| NamedSplit::load(path).map(drop));
    let rows = "{\"train\": [0, 1, 2, 5], \"validation\": [3], \"test\": [4, 6]}";
    campaign("rows.json", 500, &[rows.into()], |_| (), |path| Split::load(path).map(drop));
    // What `genailab split` wrote, as `synthetic` reads it.
    place.run("split --data cells.h5ad --split doubles --out split.json").done();
    let whole = std::fs::read(place.path("split.json")).expect("a split");
    campaign("split.json", 500, &[whole], |_| (), |path| Split::load(path).map(drop));
}

#[test]
fn adapters() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("adapter.safetensors");
    let about = [("base", "0".repeat(64)), ("about", "{\"rank\": 8, \"alpha\": 16.0}".to_owned())];
    let metadata = about.map(|(name, text)| (name.to_owned(), text)).into();
    let tensors: Snapshot = Checkpoint::read(&tool::model().join("model.safetensors")).expect("a model").tensors;
    Checkpoint { tensors, metadata }.write(&path).expect("written");
    AdapterFile::read(&path).expect("an adapter");
    let file = std::fs::read(&path).expect("written");
    campaign("adapter.safetensors", 300, &[file], |_| (), |path| AdapterFile::read(path).map(drop));
}
