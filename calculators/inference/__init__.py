"""OpenVINO models as nodes of a graph: OpenVINOModelServerSessionCalculator and OpenVINOInferenceCalculator."""
