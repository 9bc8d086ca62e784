// A worker on camunda-external-task-client-js: pays until it is stopped.
import { createRequire } from "node:module";

const { BasicAuthInterceptor, Client, Variables } = createRequire(process.env.CLIENT)(
  "camunda-external-task-client-js",
);
const client = new Client({
  baseUrl: process.env.ENGINE_URL,
  workerId: "node",
  asyncResponseTimeout: 20000,
  interceptors: new BasicAuthInterceptor({
    username: process.env.API_KEY,
    password: process.env.API_SECRET,
  }),
});
client.on("poll:error", (error) => console.error(error));
client.subscribe("pay-order", async ({ task, taskService }) => {
  await taskService.extendLock(task, 60000);
  const receipt = { number: 7, at: [task.topicName], for: task.variables.get("taskId") };
  const variables = new Variables().setAll({ receipt: "R7", details: receipt });
  await taskService.complete(task, variables);
});
