    // Stan's derivative of normal_lcdf is an approximation, off by up to 1e-6 of itself; its value is not.
    vector[n_measurements] sd_m = sqrt(square(sigma_add) + square(sigma_prop * m));
    target += normal_lpdf(value[quantified] | m[quantified], sd_m[quantified]);
    target += normal_lcdf(value[below] | m[below], sd_m[below]);
