"""Make the adapter that turns the default model into a small agent: data, training, export, all from one seed."""
