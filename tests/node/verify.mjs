// A receiver of webhooks: node verify.mjs MODULE SECRET
// MODULE exports isGenuine(body, headers, secret).  Prints its port; answers 204 or 401.
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [modulePath, secret] = process.argv.slice(2);
const { isGenuine } = await import(pathToFileURL(modulePath));

const server = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString('utf8');
    response.writeHead(isGenuine(body, request.headers, secret) ? 204 : 401).end();
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
