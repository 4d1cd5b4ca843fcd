// A Stan model's log density and gradient, callable through ctypes. Linked with the C++ that stanc makes of a program.
#include <fstream>
#include <iostream>
#include <memory>
#include <stan/io/json/json_data.hpp>
#include <stan/math/rev.hpp>
#include <stan/model/model_base.hpp>
#include <string>
#include <vector>

stan::model::model_base &new_model(stan::io::var_context &data, unsigned int seed, std::ostream *messages);

namespace {
thread_local std::string error;
stan::model::model_base *as_model(void *model) { return static_cast<stan::model::model_base *>(model); }
}  // namespace

extern "C" {

const char *last_error() { return error.c_str(); }

// NULL, with `last_error`, if the data do not fit.
void *open_model(const char *json_file) {
  try {
    stan::math::init_threadpool_tbb(1);  // of use to reduce_sum alone: one thread, as for all
    std::ifstream stream(json_file);
    stan::json::json_data data(stream);
    return &new_model(data, 1, &std::cerr);
  } catch (const std::exception &thrown) {
    error = thrown.what();
    return nullptr;
  }
}

void close_model(void *model) { delete as_model(model); }

int n_unconstrained(void *model) { return static_cast<int>(as_model(model)->num_params_r()); }

// Names of the unconstrained parameters, separated by newlines.
const char *unconstrained_names(void *model) {
  static thread_local std::string joined;
  std::vector<std::string> names;
  as_model(model)->unconstrained_param_names(names, false, false);
  joined.clear();
  for (const auto &name : names) joined += name + "\n";
  return joined.c_str();
}

// Log density with all constants and the Jacobian of the constraints. Not 0, with `last_error`, if Stan refuses.
int log_density_gradient(void *model, const double *at, double *log_density, double *gradient) {
  using stan::math::var;
  stan::math::nested_rev_autodiff nested;
  try {
    const int n = n_unconstrained(model);
    Eigen::Matrix<var, Eigen::Dynamic, 1> parameters(n);
    for (int i = 0; i < n; ++i) parameters(i) = at[i];
    var value = as_model(model)->log_prob_jacobian(parameters, &std::cerr);
    value.grad();
    *log_density = value.val();
    for (int i = 0; i < n; ++i) gradient[i] = parameters(i).adj();
    return 0;
  } catch (const std::exception &thrown) {
    error = thrown.what();
    return 1;
  }
}
}
