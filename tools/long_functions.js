// A rule for `deno lint`: no function has more than 60 lines. deno.json names this file.

const MOST_LINES = 60;

/**
 * @param {any} context
 * @returns {(node: any) => void}
 */
function count(context) {
  return (node) => {
    const lines = context.sourceCode.getText(node).split("\n").length;
    if (lines > MOST_LINES) {
      context.report({ node, message: `${lines} lines are more than the ${MOST_LINES} of a function` });
    }
  };
}

export default {
  name: "ssrlib",
  rules: {
    "long-functions": {
      create: (/** @type {any} */ context) => ({
        FunctionDeclaration: count(context),
        FunctionExpression: count(context),
        ArrowFunctionExpression: count(context),
      }),
    },
  },
};
