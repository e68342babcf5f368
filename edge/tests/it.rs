//! A host in virtual time: seeded signals through the pipeline, a stand-in for the `level` detector as the worker.

mod it {
    pub(crate) mod allocation;
    pub(crate) mod books;
    pub(crate) mod cascade;
    pub(crate) mod declined;
    pub(crate) mod detection;
    pub(crate) mod footprint;
    pub(crate) mod host;
    pub(crate) mod logs;
    pub(crate) mod masking;
    pub(crate) mod plan;
    pub(crate) mod recorder;
    pub(crate) mod restart;
    pub(crate) mod scorer;
    pub(crate) mod shipping;
    pub(crate) mod signal;
    pub(crate) mod taps;
    pub(crate) mod usual;
    pub(crate) mod votes;
    pub(crate) mod worker;
}
