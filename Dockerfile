# The course in JupyterLab, with everything built: needs Docker and nothing else. Binder and the devcontainer use it too.
#
#   docker build -t genailab .
#   docker run --rm -p 8888:8888 genailab
FROM rust:1.95-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends libhdf5-dev pkg-config python3 python3-venv fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*

# Binder tells the user's number and name; Jupyter is not to run as root.
ARG NB_USER=learner
ARG NB_UID=1000
# The folder too, because WORKDIR would make it root's, and the builds below write into it.
RUN useradd --create-home --uid "${NB_UID}" "${NB_USER}" \
    && install --directory --owner "${NB_UID}" --group "${NB_UID}" "/home/${NB_USER}/genailab"
USER ${NB_USER}
WORKDIR /home/${NB_USER}/genailab
COPY --chown=${NB_UID} . .

# The kernel, the Python packages, and what the notebooks link to.
RUN scripts/setup.sh lab && target/kernel/genailab-kernel prepare

# JUPYTER_PATH: an editor with a Python of its own finds the kernel too.
ENV PATH="/home/${NB_USER}/genailab/.venv/bin:${PATH}" JUPYTER_PREFER_ENV_PATH=1 \
    JUPYTER_PATH="/home/${NB_USER}/genailab/.venv/share/jupyter"
WORKDIR /home/${NB_USER}/genailab/notebooks
EXPOSE 8888
CMD ["jupyter-lab", "--ip=0.0.0.0", "--no-browser"]
