//! Saved models that were damaged or edited are refused with one line.

use genailab::{
    Error,
    data::{Dataset, Effects, Split, TrainingData},
    device::Device,
    model::{
        Model, Trained,
        combination::{CombinationConfig, CombinationModel, CombinationSettings},
    },
    train::{Run, TrainConfig},
};
use serde_json::Value;
use std::{fs, path::Path, sync::OnceLock};
use tempfile::TempDir;

/// A trained model in a folder of its own.
fn saved() -> TempDir {
    static MODEL: OnceLock<TempDir> = OnceLock::new();
    let original = MODEL.get_or_init(|| {
        let effects = Effects::of_cells(&Dataset::simulated(7)).expect("the simulation has controls");
        let all = Split { train: (0..effects.perturbations.len()).collect(), validation: Vec::new(), test: Vec::new() };
        let training = TrainingData::of_effects(&effects, &all, 0).expect("its own split");
        let model = CombinationConfig {
            training: TrainConfig { epochs: 1, ..CombinationConfig::default().training },
            ..CombinationConfig::default()
        };
        let (model, _) =
            CombinationModel::fit(&training, &CombinationSettings { model }, &mut Run::quiet(0)).expect("it trains");
        let folder = tempfile::tempdir().expect("a folder");
        model.save(folder.path()).expect("it can be written");
        folder
    });
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["model.json", "model.safetensors"] {
        fs::copy(original.path().join(name), copy.path().join(name)).expect("copied");
    }
    copy
}

fn refused(dir: &Path) -> String {
    let error: Error = CombinationModel::load(dir, Device::Cpu).expect_err("it must be refused");
    let text = error.to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

fn edit(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("model.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).expect("read")).expect("JSON");
    change(&mut json);
    fs::write(path, json.to_string()).expect("written");
}

#[test]
fn a_description_that_does_not_fit_the_arrays_is_refused() {
    let folder = saved();
    CombinationModel::load(folder.path(), Device::Cpu).expect("as it was saved");
    edit(folder.path(), |json| json["arrays"]["singles"][0] = 3.into());
    let text = refused(folder.path());
    assert!(text.contains("singles") && text.contains("model.safetensors"), "{text}");

    let folder = saved();
    edit(folder.path(), |json| drop(json["arrays"].as_object_mut().expect("a map").remove("singles")));
    assert!(refused(folder.path()).contains("does not list"));

    for (field, shorter) in [("genes", 1), ("singles", 1), ("scales", 0)] {
        let folder = saved();
        edit(folder.path(), |json| {
            json["description"][field].as_array_mut().expect("a list").truncate(shorter);
        });
        // Fewer members of the ensemble are another model, and a whole one.
        if field != "scales" {
            let text = refused(folder.path());
            assert!(text.contains("shape"), "{field}: {text}");
        }
    }

    let folder = saved();
    edit(folder.path(), |json| json["description"]["config"]["width"] = 7.into());
    assert!(refused(folder.path()).contains("shape"));
}

#[test]
fn other_kinds_versions_and_broken_files_are_refused() {
    let folder = saved();
    edit(folder.path(), |json| json["model"] = "vae".into());
    assert!(refused(folder.path()).contains("\"vae\""));
    let folder = saved();
    edit(folder.path(), |json| json["format"] = 1.into());
    assert!(refused(folder.path()).contains("format 1"));
    let folder = saved();
    fs::write(folder.path().join("model.json"), "{").expect("written");
    assert!(refused(folder.path()).contains("model.json is damaged"));
    let folder = saved();
    let weights = folder.path().join("model.safetensors");
    let bytes = fs::read(&weights).expect("read");
    fs::write(&weights, &bytes[..bytes.len() / 2]).expect("written");
    assert!(refused(folder.path()).contains("model.safetensors"));
    fs::remove_file(&weights).expect("removed");
    assert!(refused(folder.path()).contains("did not come to its end"));
    fs::remove_file(folder.path().join("model.json")).expect("removed");
    assert!(refused(folder.path()).contains("holds no model"));
}

#[test]
fn a_name_of_a_part_never_leaves_the_folder() {
    let folder = saved();
    edit(folder.path(), |json| json["parts"] = serde_json::json!({ "../other": "combination" }));
    assert!(refused(folder.path()).contains("no name of a folder"));
}
