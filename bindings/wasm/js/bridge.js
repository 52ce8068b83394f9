export class Bridge {}
