//! The forms that AnnData has given to matrices and columns over the years.

use super::{names, real_files};
use crate::common::real_data;
use genailab::{
    data::{AnnData, AnnDataWriter, Column, Counts, Dataset, MatrixKind, OpenOptions, Table, Uns},
    ndarray::{Array1, Array2, array},
};
use hdf5::{
    File, Group, H5Type,
    types::{FixedAscii, FixedUnicode, VarLenAscii, VarLenUnicode},
};
use std::str::FromStr;
use tempfile::tempdir;

fn text(value: &str) -> VarLenUnicode {
    VarLenUnicode::from_str(value).expect("no zero byte")
}

fn text_attr(group: &Group, name: &str, value: &str) {
    group.new_attr::<VarLenUnicode>().create(name).expect("new").write_scalar(&text(value)).expect("written");
}

fn put<T: H5Type>(group: &Group, name: &str, values: &[T]) {
    group.new_dataset_builder().with_data(values).create(name).expect("new");
}

/// A file with `n` cells and genes, and no columns.
fn bare(path: &std::path::Path, cells: usize, genes: usize) -> File {
    let file = File::create(path).expect("a new file");
    for (name, length) in [("obs", cells), ("var", genes)] {
        let group = file.create_group(name).expect("new");
        text_attr(&group, "_index", "_index");
        put(&group, "_index", &names(name, length).iter().map(|name| text(name)).collect::<Vec<_>>());
    }
    file
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("all.h5ad");
    let mut obs = Table::from_names(vec!["a".into(), "b ü".into(), "".into()]);
    obs.set("cat", Column::Categorical { codes: vec![1, -1, 0], categories: vec!["x".into(), "y".into()] });
    obs.set("text", Column::Text(vec![Some("p".into()), Some(String::new()), Some("p".into())]));
    obs.set("whole", Column::Integer(vec![Some(-4), Some(i64::MAX), Some(0)]));
    obs.set("whole with gaps", Column::Integer(vec![Some(-4), None, Some(0)]));
    obs.set("real", Column::Float(vec![0.5, 1e300, -3.0]));
    obs.set("truth", Column::Boolean(vec![Some(true), Some(false), Some(true)]));
    obs.set("truth with gaps", Column::Boolean(vec![Some(true), None, Some(false)]));
    let mut var = Table::from_names(names("g", 400));
    var.set("mean", Column::Float((0..400).map(f64::from).collect()));
    let dense = Array2::from_shape_fn((3, 400), |(i, j)| if (i + j) % 3 == 0 { (i * j) as f32 } else { 0.0 });
    let x = Counts::from_dense(&dense);
    let embedding = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]];
    AnnDataWriter::new(&obs, &var)
        .x(&x)
        .layer("full", &dense)
        .layer("counts", &x)
        .obsm("X_pca", &embedding)
        .uns("effect", "a text")
        .uns("names", vec!["a".to_owned(), "b".to_owned()])
        .uns("theta", 0.25)
        .uns(
            "deep",
            [("means", Uns::from(embedding.clone())), ("one", Uns::from(Array1::from(vec![1.0])))]
                .into_iter()
                .collect::<Uns>(),
        )
        .write(&path)
        .expect("written");

    let file = AnnData::open(&path).expect("opened");
    assert_eq!((file.n_obs(), file.n_vars(), file.x_kind()), (3, 400, MatrixKind::Csr));
    assert_eq!(file.obs().expect("obs"), obs);
    assert_eq!(file.var().expect("var"), var);
    assert_eq!(file.layers(), ["counts", "full"]);
    assert_eq!(file.obsm(), [("X_pca".to_owned(), vec![3, 2])]);
    for name in ["X", "layers/full", "layers/counts"] {
        assert_eq!(file.read_dense(name).expect("dense"), dense, "{name}");
        assert_eq!(file.read_matrix(name).expect("sparse"), x, "{name}");
        let summary = file.summarize(name).expect("summed");
        assert_eq!((summary.nnz, summary.sum), (x.nnz(), x.values().iter().map(|&v| f64::from(v)).sum()), "{name}");
    }
    assert_eq!(file.read_obsm("X_pca").expect("embedding"), embedding);
    let uns = |path: &str| file.uns(path).expect("readable").expect("there");
    assert_eq!(uns("effect").as_text(), Some("a text"));
    assert_eq!(uns("names").as_texts().expect("texts"), ["a", "b"]);
    assert_eq!(uns("theta").as_number(), Some(0.25));
    assert_eq!(uns("deep/means").as_array(), Some(&embedding.into_dyn()));
    assert_eq!(uns("deep").get("one"), Some(&Uns::from(Array1::from(vec![1.0]))));
    assert_eq!(file.uns("absent").expect("readable"), None);
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("listed").collect();
    assert_eq!(left.len(), 1, "no temporary file stays");
}

#[test]
fn missing_text_becomes_a_missing_category() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("gaps.h5ad");
    let mut obs = Table::from_names(names("c", 3));
    let values = vec![Some("z".to_owned()), None, Some("a".to_owned())];
    obs.set("gaps", Column::Text(values.clone()));
    AnnDataWriter::new(&obs, &Table::default()).write(&path).expect("written");
    let file = AnnData::open(&path).expect("opened");
    assert_eq!(file.obs_column("gaps").expect("read").expect("there").to_text(), values);
    assert_eq!((file.n_vars(), file.x_kind()), (0, MatrixKind::None));
}

/// CSC with unsorted row indices, of each type of number, against the same values dense.
#[test]
fn matrices_of_every_type() {
    fn check<T: H5Type + From<u8> + Copy, I: H5Type + From<u8> + Copy>() {
        let dense = array![[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 3.0, 255.0], [4.0, 0.0, 5.0]];
        let expected = Counts::from_dense(&dense);
        let folder = tempdir().expect("a folder");
        let path = folder.path().join("x.h5ad");
        let file = bare(&path, 4, 3);
        let csc = |name: &str| {
            let group = file.create_group(name).expect("new");
            text_attr(&group, "encoding-type", "csc_matrix");
            group.new_attr::<i64>().shape([2]).create("shape").expect("new").write_raw(&[4, 3]).expect("written");
            put(&group, "data", &[4_u8, 1, 3, 2, 255, 5].map(T::from));
            put(&group, "indices", &[3_u8, 0, 2, 0, 2, 3].map(I::from));
            put(&group, "indptr", &[0_u8, 2, 3, 6].map(I::from));
        };
        csc("X");
        let values = dense.mapv(|value: f32| T::from(value as u8));
        file.create_group("layers").expect("new");
        file.new_dataset_builder().with_data(&values).chunk((3, 2)).deflate(1).create("layers/dense").expect("new");
        drop(file);
        let file = AnnData::open(&path).expect("opened");
        assert_eq!(file.x_kind(), MatrixKind::Csc);
        for name in ["X", "layers/dense"] {
            assert_eq!(file.read_matrix(name).expect("read"), expected, "{name}");
            assert_eq!(file.summarize(name).expect("summed").sum, 270.0, "{name}");
        }
    }
    check::<u8, i32>();
    check::<u16, i64>();
    check::<i64, u32>();
    check::<f32, u64>();
    check::<f64, i32>();
}

/// Cells that do not pass by have no library size, and the others have theirs, however the matrix is stored.
#[test]
fn an_outline_looks_at_the_cells_that_are_asked_for() {
    let dense = Array2::from_shape_fn((40, 5), |(cell, gene)| ((cell * 7 + gene * 3) % 5) as f32);
    let sums: Vec<f32> = dense.rows().into_iter().map(|row| row.sum()).collect();
    let folder = tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (cells, genes) = (Table::from_names(names("c", 40)), Table::from_names(names("g", 5)));
    AnnDataWriter::new(&cells, &genes).x(&Counts::from_dense(&dense)).write(path("csr.h5ad")).expect("written");
    AnnDataWriter::new(&cells, &genes).x(&dense).write(path("dense.h5ad")).expect("written");
    let by_gene = Counts::from_dense(&dense.t().to_owned());
    let file = bare(&path("csc.h5ad"), 40, 5);
    let group = file.create_group("X").expect("new");
    text_attr(&group, "encoding-type", "csc_matrix");
    group.new_attr::<i64>().shape([2]).create("shape").expect("new").write_raw(&[40, 5]).expect("written");
    let ends = (0..5).scan(0, |end, gene| {
        *end += by_gene.row(gene).0.len() as i64;
        Some(*end)
    });
    put(&group, "indptr", &[0].into_iter().chain(ends).collect::<Vec<i64>>());
    let rows: Vec<(&[u32], &[f32])> = (0..5).map(|gene| by_gene.row(gene)).collect();
    put(&group, "indices", &rows.iter().flat_map(|row| row.0.iter().map(|&cell| cell as i32)).collect::<Vec<i32>>());
    put(&group, "data", &rows.iter().flat_map(|row| row.1.iter().copied()).collect::<Vec<f32>>());
    drop((group, file));
    let options = OpenOptions { labels_optional: true, ..OpenOptions::default() };
    for (name, kind) in
        [("csr.h5ad", MatrixKind::Csr), ("dense.h5ad", MatrixKind::Dense), ("csc.h5ad", MatrixKind::Csc)]
    {
        let file = AnnData::open(path(name)).expect("opened");
        assert_eq!(file.x_kind(), kind);
        assert_eq!(file.n_stored("X").expect("there").is_some(), kind != MatrixKind::Dense, "{name}");
        let asked = [3..5, 20..21, 38..40];
        let outline = Dataset::outline(&file, &options, &asked).expect("counts");
        assert_eq!(outline.n_cells(), 40, "{name}");
        for (cell, (&size, &sum)) in outline.library_size.iter().zip(&sums).enumerate() {
            match asked.iter().any(|range| range.contains(&cell)) {
                true => assert_eq!(size, sum, "{name}, cell {cell}"),
                false => assert!(size.is_nan(), "{name}, cell {cell}: {size}"),
            }
        }
    }
}

#[test]
fn lzf_is_read() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("lzf.h5ad");
    let dense = Array2::from_shape_fn((40, 30), |(i, j)| ((i * j) % 4) as f32);
    let file = bare(&path, 40, 30);
    file.new_dataset_builder().with_data(&dense).chunk((7, 30)).lzf().create("X").expect("new");
    drop(file);
    assert_eq!(AnnData::open(&path).expect("opened").read_dense("X").expect("read"), dense);
}

#[test]
fn texts_of_every_type() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("texts.h5ad");
    let file = bare(&path, 2, 1);
    let obs = file.group("obs").expect("there");
    let words = ["ab", "cde"];
    put(&obs, "a", &words.map(|word| FixedAscii::<5>::from_ascii(word).expect("ascii")));
    put(&obs, "b", &words.map(|word| FixedUnicode::<300>::from_str(word).expect("short")));
    put(&obs, "c", &words.map(|word| VarLenAscii::from_ascii(word).expect("ascii")));
    put(&obs, "d", &words.map(text));
    put(&obs, "e", &words.map(|word| FixedAscii::<3>::from_ascii(word).expect("ascii"))); // no room for a final zero
    drop((obs, file));
    let table = AnnData::open(&path).expect("opened").obs().expect("obs");
    // Without `column-order` the members are the columns.
    assert_eq!(table.column_names(), ["a", "b", "c", "d", "e"]);
    for (name, column) in &table.columns {
        assert_eq!(column.to_text(), words.map(|word| Some(word.to_owned())), "{name}");
    }
}

#[test]
fn columns_of_every_encoding() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("columns.h5ad");
    let file = bare(&path, 3, 1);
    let obs = file.group("obs").expect("there");
    let member = |name: &str, encoding: &str| {
        let group = obs.create_group(name).expect("new");
        text_attr(&group, "encoding-type", encoding);
        group
    };
    // AnnData 0.7: codes at the column, categories aside, tied by a reference.
    put(&obs, "old", &[1_i8, 0, -1]);
    put(&obs.create_group("__categories").expect("new"), "old", &["x", "y"].map(text));
    let reference = obs.reference::<hdf5::ObjectReference1>("__categories/old").expect("a reference");
    let column = obs.dataset("old").expect("there");
    column
        .new_attr::<hdf5::ObjectReference1>()
        .create("categories")
        .expect("new")
        .write_scalar(&reference)
        .expect("set");
    // Categories that are numbers or truth values.
    let numbers = member("numbers", "categorical");
    put(&numbers, "categories", &[10_i64, 20]);
    put(&numbers, "codes", &[1_i16, 1, 0]);
    let truths = member("truths", "categorical");
    put(&truths, "categories", &[false, true]);
    put(&truths, "codes", &[1_i16, 0, -1]);
    let gaps = member("gaps", "nullable-string-array");
    put(&gaps, "values", &["p", "", "q"].map(text));
    put(&gaps, "mask", &[false, true, false]);
    // What no column type is for: dates as records, say. It is listed, and left out of the table.
    member("unknown", "a-new-encoding");
    put(&obs.group("unknown").expect("there"), "values", &[1_i64, 2, 3]);
    drop((obs, numbers, truths, gaps, column, file));

    let file = AnnData::open(&path).expect("opened");
    assert_eq!(file.obs_columns(), ["gaps", "numbers", "old", "truths", "unknown"]);
    let table = file.obs().expect("obs");
    let texts = |name: &str| table.column(name).expect("there").to_text();
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(texts("old"), [some("y"), some("x"), None]);
    assert_eq!(texts("numbers"), [some("20"), some("20"), some("10")]);
    assert_eq!(texts("truths"), [some("true"), some("false"), None]);
    assert_eq!(texts("gaps"), [some("p"), None, some("q")]);
    assert_eq!(table.column("unknown"), None);
}

#[test]
fn real_files_are_read_whole() {
    for path in real_files() {
        let file = AnnData::open(&path).expect("opened");
        assert_eq!(file.obs().expect("obs").columns.len(), file.obs_columns().len(), "{}", path.display());
        assert_eq!(file.var().expect("var").columns.len(), file.var_columns().len(), "{}", path.display());
        for (name, shape) in file.obsm().to_vec() {
            match file.read_obsm(&name) {
                Ok(values) => assert_eq!(values.shape(), shape, "{}: {name}", path.display()),
                // The data frame of AnnData's own test file has a column of text.
                Err(error) => assert!(error.to_string().contains("does not hold numbers"), "{error}"),
            }
        }
        for name in ["X", "raw/X"].into_iter().filter(|name| file.has_matrix(name)) {
            let (counts, summary) = (file.read_matrix(name).expect("read"), file.summarize(name).expect("summed"));
            assert_eq!(counts.nnz(), summary.nnz, "{}: {name}", path.display());
            let sum: f64 = counts.values().iter().map(|&value| f64::from(value)).sum();
            assert!((sum - summary.sum).abs() <= 1e-6 * summary.sum.abs(), "{}: {sum}", path.display());
        }
    }
}

#[test]
fn the_file_of_anndata_0_7() {
    let Some(path) = real_data("interop/anndata_0.7.0.h5ad") else { return };
    let file = AnnData::open(path).expect("opened");
    let obs = file.obs().expect("obs");
    // Python: anndata.read_h5ad(...).obs.iloc[:3]
    assert_eq!(obs.names[..3], ["cell0", "cell1", "cell2"]);
    let categories: Vec<_> = obs.column("obs_cat").expect("there").to_text().into_iter().flatten().take(3).collect();
    assert_eq!(categories, ["S", "W", "E"]);
    assert_eq!(obs.column("int64").expect("there").to_f64().expect("numbers")[..3], [-29.0, -29.0, 34.0]);
    assert_eq!(file.layers(), ["array", "sparse"]);
    assert_eq!(file.raw_var().expect("raw").len(), 40);
    assert_eq!(file.summarize("raw/X").expect("summed").nnz, 480);
}
