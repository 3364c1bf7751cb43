#include "core/explain.h"

#include "core/loss.h"

float
soma_explain_logit(const soma_spec *spec, const float *scores, int label)
{
    if (!spec->loss->binary)
        return scores[label];
    return label == 1 ? scores[0] : -scores[0];
}

int
soma_explain(const soma_model *model, soma_workspace *ws, const float *x,
             int label, float *attribution)
{
    const soma_spec *spec = &model->spec;
    const float *scores = soma_pass_forward(model, ws, 1, x);
    if (label < 0)
        label = soma_loss_decide(spec->loss, spec->outputs, scores);
    bool against = spec->loss->binary && label == 0;
    soma_pass_input_gradient(model, ws, spec->loss->binary ? 0 : label,
                             against ? -1.0f : 1.0f, attribution);
    for (int i = 0; i < spec->input.size; i++)
        attribution[i] *= x[i];
    return label;
}
