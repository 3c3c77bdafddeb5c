"""OpenVINO models as nodes of graphs: small models, graphs over them, and a client."""
