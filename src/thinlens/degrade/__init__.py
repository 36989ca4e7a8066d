"""From high to low quality, as the field does it: what models are trained and measured on."""
