// SPDX-License-Identifier: MIT
// Objects, JSON, strings, buffers, zlib, and the same once more in a worker. One argument: how many rounds.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

function work(rounds, seed) {
	let state = seed;
	const next = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 8;
	const hash = crypto.createHash('sha256');
	let kept = [];
	for (let round = 0; round < rounds; round++) {
		const rows = [];
		for (let i = 0; i < 4000; i++)
			rows.push({ id: i, name: 'n' + next(), tags: [next() % 9, next() % 99], nested: { x: next() / 7, y: null } });
		const text = JSON.stringify(rows);
		const back = JSON.parse(text);
		back.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id));
		const counts = new Map();
		for (const word of text.split(/[",:]/))
			counts.set(word, (counts.get(word) || 0) + 1);
		const packed = zlib.deflateSync(Buffer.from(text), { level: 3 });
		hash.update(zlib.inflateSync(packed)).update(String(counts.size)).update(back[0].name);
		for (let i = 0; i < 600; i++) {
			const buffer = Buffer.alloc(1 + next() % 40000, i);
			if (i % 3 === 0)
				kept.push(buffer);
			hash.update(buffer.subarray(0, 16));
		}
		kept = kept.filter(() => next() % 4 !== 0);
		hash.update(String(kept.reduce((sum, b) => sum + b.length, 0)));
	}
	return hash.digest('hex');
}

if (isMainThread) {
	const rounds = Number(process.argv[2]);
	const worker = new Worker(__filename, { workerData: { rounds } });
	worker.on('message', (theirs) => console.log(`worker ${theirs}`));
	worker.on('error', (error) => { throw error; });
	const mine = work(rounds, 1);
	worker.on('exit', () => console.log(`main ${mine}`));
} else {
	parentPort.postMessage(work(workerData.rounds, 2));
}
