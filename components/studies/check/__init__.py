"""An artefact that is served, asked what the evaluated adapter was asked."""
