//! Flows: a velocity carries samples of a source at time 0 to samples of the data at time 1.
